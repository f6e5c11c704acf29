"""Recurrent and convolutional distributions on the pixels of an image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.distributions import Distribution

from genzoo import memory
from genzoo.blocks.masked import CausalConv, MaskedLinear, color_groups
from genzoo.blocks.pixel_layers import ConvLayer, DiagonalBiLSTM, PixelLayer, RowLSTM
from genzoo.contract import Batch, Count, Positive, Shape, is_image
from genzoo.errors import DataError, SettingError
from genzoo.models.autoregressive import Autoregressive, draw_level, level_distribution
from genzoo.progress import track

_LAYERS: Mapping[str, type[PixelLayer]] = {
    "diagonal-bilstm": DiagonalBiLSTM,
    "row-lstm": RowLSTM,
    "conv": ConvLayer,
}


class PixelRNN(Autoregressive):
    r"""An exact distribution on images, pixel by pixel in raster order, and colour by colour within a pixel.

    \[ \log p(x) = \sum_{r, c} \log p(R_{rc} \mid x_{<rc}) + \log p(G_{rc} \mid R_{rc}, x_{<rc})
       + \log p(B_{rc} \mid R_{rc}, G_{rc}, x_{<rc}) \]

    A masked convolution, layers of one kind with residual connections, and a head: two masked 1x1 convolutions and one that gives
    the logits, of two levels or for a softmax over more. Each kind of layer sees another part of the past: the Diagonal BiLSTM
    nearly all of it, the Row LSTM a triangle above the pixel, convolutions (the paper's PixelCNN) what their kernels reach.

    Arguments:
        layer: `"diagonal-bilstm"`, `"row-lstm"` or `"conv"`.
        hidden: h, features of a state; the maps between layers have 2h.
        depth: layers.
        levels: values of a colour, evenly spaced from 0 to 1; 256 for 8-bit images.
        residual: add each layer's input to its output.
        skip: add a learned map of each layer's output to what the head sees, instead of the last one's alone.
        kernel: height and width of the first convolution.
        head: features of the head.
        classes: condition on labels 0 to classes - 1, which data and `sample` then give as `y`; 0 for no labels.
        shape: `(1, H, W)` or `(3, H, W)`.

    Raises:
        SettingError: a shape that is not that of an image with 1 or 3 colours, or fewer features than colours.

    References:
        Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016, https://arxiv.org/abs/1601.06759

    Example:
        >>> model = PixelRNN(hidden=4, depth=2, shape=(1, 8, 8))
        >>> x = model.sample(3)
        >>> x.shape, model.log_prob(x).shape
        (torch.Size([3, 1, 8, 8]), torch.Size([3]))
    """

    _taps: Tensor
    _order: Tensor
    # the paper: RMSProp, its rate found by hand for each data set; Adam finds the same likelihoods sooner
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}

    def __init__(
        self,
        layer: Literal["diagonal-bilstm", "row-lstm", "conv"] = "diagonal-bilstm",
        hidden: Positive = 16,
        depth: Count = 7,
        levels: Positive = 2,
        residual: bool = True,
        skip: bool = False,
        kernel: Positive = 7,
        head: Positive = 32,
        classes: int = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__()
        _check(shape, hidden, head, levels, kernel, classes)
        self.shape, self.levels, self.classes, self.residual = (
            tuple(shape),
            levels,
            classes,
            residual,
        )
        if classes:
            self.inputs, self.given = ("x", "y"), ("y",)  # type: ignore[misc]
        colours, height, width = self.shape
        values, outer, inner = (color_groups(n, colours) for n in (colours, 2 * hidden, head))
        self.first = CausalConv(values, outer, kernel, strict=True)
        self.layers = nn.ModuleList(
            _LAYERS[layer](hidden, colours, height, width, classes) for _ in range(depth)
        )
        self.skips = nn.ModuleList(MaskedLinear(outer, outer) for _ in range(depth if skip else 0))
        logits = values.repeat_interleave(1 if levels == 2 else levels)
        self.head = nn.Sequential(
            nn.ReLU(),
            MaskedLinear(outer, inner),
            nn.ReLU(),
            MaskedLinear(inner, inner),
            nn.ReLU(),
            MaskedLinear(inner, logits),
        )
        slope = 1 + max(self.first.reach, self.stack[0].reach)
        number = (slope * torch.arange(height)[:, None] + torch.arange(width)).flatten()
        self._sizes = [size for size in torch.bincount(number).tolist() if size]
        self.register_buffer("_order", number.argsort(stable=True), persistent=False)
        self.register_buffer("_taps", self.first.taps(height, width), persistent=False)

    @property
    def stack(self) -> list[PixelLayer]:
        """The layers, from the data on."""
        return list(self.layers)  # type: ignore[arg-type]

    def distribution(self, x: Tensor, given: Tensor | None = None) -> Distribution:
        f = self.stack[0].enter(self.first(2 * x - 1))
        f = self._through(f, lambda i, f: self.stack[i](f, given), [*self.skips])
        return level_distribution(
            rearrange(
                self.stack[0].leave(self.head(f)), "b r c (k l) -> b k r c l", k=self.shape[0]
            )
        )

    def _through(
        self,
        f: Tensor,
        layer: Callable[[int, Tensor], Tensor],
        skips: Sequence[Callable[[Tensor], Tensor]],
    ) -> Tensor:
        """Features through all layers, `layer(i, f)` being what the i-th of them adds."""
        skipped: Tensor | None = None
        for i in range(len(self.layers)):
            added = layer(i, f)
            f = f + added if self.residual else added
            if skips:
                skipped = skips[i](f) if skipped is None else skipped + skips[i](f)
        return f if skipped is None else skipped

    def fronts(self) -> list[Tensor]:
        """Pixels in raster positions that can be drawn at once, in the order in which they can.

        A pixel's features depend on the row above as far to the right as the first convolution and the layers reach. So pixels
        with the same c + slope * r are independent of each other, if slope is one more than that. The Diagonal BiLSTM needs the
        whole row above, so that there each front is a pixel.
        """
        return list(self._order.split(self._sizes))

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        colours, height, width = self.shape
        n, layers = u.shape[0], self.stack
        first, head, caches = (
            self.first.fixed(),
            [_fixed(part) for part in self.head],
            [layer.cache(n, given) for layer in layers],
        )
        skips = [_fixed(part) for part in self.skips]
        chance = rearrange(u, "b k r c -> (r c) b k")
        known, kept = (t if t is None else rearrange(t, "b k r c -> (r c) b k") for t in (x, keep))
        drawn = self.reference_tensor.new_full(
            (height * width + 1, n, colours), 0.5
        )  # as the zeros outside are, before scaling
        fronts, done = self.fronts(), 0
        plan = zip(
            fronts, layers[0].spots(fronts), [self._taps[:, front] for front in fronts], strict=True
        )
        for front, spot, taps in track(plan, "drawing", total=len(fronts)):
            for colour in range(colours):  # a colour is told of those before it
                f = first(2 * drawn.index_select(0, taps.flatten()).unflatten(0, taps.shape) - 1)
                f = self._through(
                    f, lambda i, f, spot=spot: layers[i].at(f, spot, caches[i]), skips
                )
                for part in head:
                    f = part(f)
                value = draw_level(
                    f.unflatten(-1, (colours, -1))[:, :, colour], chance[front, :, colour]
                )
                if known is not None and kept is not None:
                    value = torch.where(kept[front, :, colour], known[front, :, colour], value)
                drawn[front, :, colour] = value
            done += len(front)
            if done % width == 0:
                layers[0].finish_row(caches)
        return rearrange(drawn[:-1], "(r c) b k -> b k r c", r=height).contiguous()

    def example(self, n: int) -> Batch:
        x = super().example(n)
        if not self.classes:
            return x
        return {"x": x, "y": torch.randint(self.classes, (n,), device=self.reference_tensor.device)}  # type: ignore[dict-item]

    def check_given(self, given: Any, n: int) -> None:
        """Refuse labels that are none.

        Raises:
            DataError: there are none where they are needed, or some where they are not, or some are not labels.
        """
        y = given
        if not self.classes:
            if y is not None:
                raise DataError(
                    "this PixelRNN takes no labels; build it with classes = 10, say, or leave them out"
                )
            return
        if (
            not isinstance(y, Tensor)
            or y.dtype not in (torch.int32, torch.int64)
            or y.shape != (n,)
        ):
            found = (
                f"{y.dtype} of shape {tuple(y.shape)}"
                if isinstance(y, Tensor)
                else "nothing"
                if y is None
                else repr(y)
            )
            raise DataError(
                f"this PixelRNN is given {found}; it needs labels of shape ({n},), 0 to {self.classes - 1}, as y.long()"
            )
        if not torch.compiler.is_compiling() and not bool(((y >= 0) & (y < self.classes)).all()):
            raise DataError(
                f"labels span {int(y.min())} to {int(y.max())}, where classes = {self.classes} has 0 to {self.classes - 1}"
            )

    def check_batch(self, batch: Batch) -> None:
        """Also warn if training would keep more than the memory that is free.

        Raises:
            DataError: values or labels are not fit.
        """
        super().check_batch(batch)
        needed, left = (
            self.memory(self.batch_size(batch)),
            memory.free_memory(self.reference_tensor.device),
        )
        if left is not None and needed > left:
            size = "x".join(map(str, self.shape))
            warnings.warn(
                f"training on {self.batch_size(batch)} images of {size} at a time keeps about {memory.format_bytes(needed)} for the "
                f"backward pass, and {memory.format_bytes(left)} of memory are free. If the run stops for lack of memory, lower "
                "train.batch_size, raise train.microbatches, or take a smaller model.",
                stacklevel=2,
            )

    def memory(self, batch: int) -> int:
        """Return the bytes that a training step keeps for its backward pass, without computing it.

        Arguments:
            batch: examples at a time; a microbatch, where `train.microbatches` is on.
        """
        like = self.reference_tensor

        def loss() -> Tensor:
            x = torch.empty(batch, *self.shape, dtype=like.dtype, device=like.device)
            y = torch.empty(batch, dtype=torch.int64, device=like.device) if self.classes else None
            return -self.distribution(x, y).log_prob(x).flatten(1).sum(1).mean()

        return memory.kept(loss)


def _fixed(part: nn.Module) -> Callable[[Tensor], Tensor]:
    """A part with its weights as they are now, for many small calls."""
    return part.fixed() if isinstance(part, MaskedLinear) else part


def _check(shape: Shape, hidden: int, head: int, levels: int, kernel: int, classes: int) -> None:
    if not is_image(shape) or shape[0] not in (1, 3):
        raise SettingError(
            f"shape = {shape!r}: a PixelRNN takes images (C, H, W) with C = 1 or 3 colours"
        )
    if min(2 * hidden, hidden, head) < shape[0]:
        raise SettingError(
            f"hidden = {hidden}, head = {head}: each needs a feature for each of the {shape[0]} colours"
        )
    if not 2 <= levels <= 256:
        raise SettingError(f"levels = {levels}: expected 2 (zeros and ones) to 256 (8-bit images)")
    if kernel % 2 == 0:
        raise SettingError(
            f"kernel = {kernel}: the first convolution needs a centre, so take an odd number"
        )
    if classes < 0:
        raise SettingError(f"classes = {classes}: expected the number of labels, or 0 for none")
