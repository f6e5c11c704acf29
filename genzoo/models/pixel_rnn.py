"""PixelRNN and PixelCNN: exact distributions on images, pixel by pixel."""

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
from genzoo.blocks.pixel import ConvLayer, DiagonalBiLSTM, PixelLayer, RowLSTM
from genzoo.blocks.scaling import to_tanh_range
from genzoo.contract import Batch, Count, Positive, Shape, is_image
from genzoo.errors import SettingError
from genzoo.models.autoregressive import Autoregressive, draw_level, level_distribution
from genzoo.models.conditioning import Classes
from genzoo.progress import track

__all__ = ["PixelRNN"]

_LAYERS: Mapping[str, type[PixelLayer]] = {
    "diagonal-bilstm": DiagonalBiLSTM,
    "row-lstm": RowLSTM,
    "conv": ConvLayer,
}


class PixelRNN(Autoregressive):
    r"""An exact distribution on images, pixel by pixel in raster order.

    Within a pixel, colors follow each other:

    \[ \log p(x) = \sum_{r, c} \log p(R_{rc} \mid x_{<rc}) + \log p(G_{rc} \mid R_{rc}, x_{<rc})
       \allowbreak + \log p(B_{rc} \mid R_{rc}, G_{rc}, x_{<rc}) \]

    The network consists of a masked convolution, layers with residual connections, and a head. The
    head has two masked 1x1 convolutions and a third that returns the logits of two levels, or of a
    softmax over more levels. The layers differ in the earlier pixels that they see. The Diagonal
    BiLSTM sees almost all of them, the Row LSTM sees a triangle above the pixel, and convolutions
    (the paper's PixelCNN) see only the pixels that their kernels reach.

    Arguments:
        layer: `"diagonal-bilstm"`, `"row-lstm"`, or `"conv"`.
        hidden: h, the number of features of a state; the maps between layers have 2h.
        depth: the number of layers.
        levels: the number of values of a color, evenly spaced from 0 to 1; 256 for 8-bit images.
        residual: add each layer's input to its output.
        skip: feed the head a learned map of every layer's output, instead of the last output only.
        kernel: the height and width of the first convolution.
        head: the number of features of the head.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels.
        shape: `(1, H, W)` or `(3, H, W)`.

    Raises:
        SettingError: `shape` is not the shape of an image with 1 or 3 colors, or there are fewer
            features than colors.

    References:
        Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016,
            https://arxiv.org/abs/1601.06759

    Example:
        >>> model = PixelRNN(hidden=4, depth=2, shape=(1, 8, 8))
        >>> x = model.sample(3)
        >>> x.shape, model.log_prob(x).shape
        (torch.Size([3, 1, 8, 8]), torch.Size([3]))
    """

    _taps: Tensor
    _order: Tensor
    # The paper takes RMSProp and tunes its rate by hand for each dataset. Adam reaches the same
    # likelihoods sooner.
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}

    def __init__(
        self,
        layer: Literal["diagonal-bilstm", "row-lstm", "conv"] = "diagonal-bilstm",
        *,
        hidden: Positive = 16,
        depth: Count = 7,
        levels: Positive = 2,
        residual: bool = True,
        skip: bool = False,
        kernel: Positive = 7,
        head: Positive = 32,
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__()
        _check_shape(shape, hidden, head)
        _check_settings(levels, kernel)
        self.shape = tuple(shape)
        self.levels = levels
        self.residual = residual
        self.condition_on(classes)
        colors, height, width = self.shape
        values = color_groups(colors, colors)
        outer = color_groups(2 * hidden, colors)
        inner = color_groups(head, colors)
        self.first = CausalConv(values, outer, kernel, strict=True)
        self.layers = nn.ModuleList(
            _LAYERS[layer](
                hidden=hidden, colors=colors, height=height, width=width, classes=classes
            )
            for _ in range(depth)
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
        # A pixel's features depend on the row above as far to the right as the first convolution
        # and the layers reach. So the pixels with the same c + slope * r form a front.
        slope = 1 + max(self.first.reach, self.stack[0].reach)
        number = (slope * torch.arange(height)[:, None] + torch.arange(width)).flatten()
        self._sizes = [size for size in torch.bincount(number).tolist() if size]
        self.register_buffer("_order", number.argsort(stable=True), persistent=False)
        self.register_buffer("_taps", self.first.taps(height, width), persistent=False)

    @property
    def stack(self) -> list[PixelLayer]:
        """The layers, starting at the data."""
        return list(self.layers)  # type: ignore[arg-type]

    def distribution(self, x: Tensor, given: Tensor | None = None) -> Distribution:
        first, layers = self.stack[0], self.stack
        f = first.to_layout(self.first(to_tanh_range(x)))
        f = self._run_layers(f, lambda i, f: layers[i](f, given), [*self.skips])
        logits = first.from_layout(self.head(f))
        return level_distribution(rearrange(logits, "b r c (k l) -> b k r c l", k=self.shape[0]))

    def _run_layers(
        self,
        f: Tensor,
        layer: Callable[[int, Tensor], Tensor],
        skips: Sequence[Callable[[Tensor], Tensor]],
    ) -> Tensor:
        """Pass features through all layers; `layer(i, f)` returns the i-th layer's increment."""
        skipped: Tensor | None = None
        for i in range(len(self.layers)):
            added = layer(i, f)
            f = f + added if self.residual else added
            if skips:
                skipped = skips[i](f) if skipped is None else skipped + skips[i](f)
        return f if skipped is None else skipped

    def fronts(self) -> list[Tensor]:
        """Return sets of pixels that can be sampled together, in the order of sampling.

        Pixels are raster positions. The pixels of a front are independent of each other given the
        previous fronts. The Diagonal BiLSTM needs the whole row above, so each of its fronts is a
        single pixel.
        """
        return list(self._order.split(self._sizes))

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        colors, height, width = self.shape
        n, layers = u.shape[0], self.stack
        first = self.first.fixed()
        head = [_fixed(part) for part in self.head]
        skips = [_fixed(part) for part in self.skips]
        caches = [layer.new_cache(n, given) for layer in layers]
        chance = rearrange(u, "b k r c -> (r c) b k")
        known, kept = (t if t is None else rearrange(t, "b k r c -> (r c) b k") for t in (x, keep))
        # The last entry stands for positions outside the image: 0.5, which becomes 0 when scaled.
        samples = self.reference_tensor.new_full((height * width + 1, n, colors), 0.5)
        fronts, done = self.fronts(), 0
        taps = [self._taps[:, front] for front in fronts]
        plan = zip(fronts, layers[0].locations(fronts), taps, strict=True)
        for front, location, seen in track(plan, "drawing", total=len(fronts)):

            def step(i: int, f: Tensor, location: Any = location) -> Tensor:
                return layers[i].step(f, location, caches[i])

            # Each color sees the ones before it, so the features are computed once per color.
            for color in range(colors):
                pixels = samples.index_select(0, seen.flatten()).unflatten(0, seen.shape)
                f = self._run_layers(first(to_tanh_range(pixels)), step, skips)
                for part in head:
                    f = part(f)
                logits = f.unflatten(-1, (colors, -1))[:, :, color]
                value = draw_level(logits, chance[front, :, color])
                if known is not None and kept is not None:
                    value = torch.where(kept[front, :, color], known[front, :, color], value)
                samples[front, :, color] = value
            done += len(front)
            if done % width == 0:
                layers[0].finish_row(caches)
        return rearrange(samples[:-1], "(r c) b k -> b k r c", r=height).contiguous()

    def check_batch(self, batch: Batch) -> None:
        """Check a batch, and warn if training needs more memory than is free.

        Raises:
            DataError: values or labels are invalid.
        """
        super().check_batch(batch)
        n = self.batch_size(batch)
        needed, free = self.memory(n), memory.free_memory(self.reference_tensor.device)
        if free is not None and needed > free:
            size = "x".join(map(str, self.shape))
            warnings.warn(
                f"training on {n} images of {size} at a time keeps about "
                f"{memory.format_bytes(needed)} for the backward pass, and "
                f"{memory.format_bytes(free)} of memory are free. If the run stops for lack of "
                "memory, lower train.batch_size, raise train.microbatches, or take a smaller "
                "model.",
                stacklevel=2,
            )

    def memory(self, batch: int) -> int:
        """Return the number of bytes that a training step keeps for its backward pass.

        Nothing is computed for it.

        Arguments:
            batch: the number of examples at a time: a microbatch, if `train.microbatches` is set.
        """
        like = self.reference_tensor

        def loss() -> Tensor:
            x = torch.empty(batch, *self.shape, dtype=like.dtype, device=like.device)
            y = torch.empty(batch, dtype=torch.int64, device=like.device) if self.classes else None
            return -self.distribution(x, y).log_prob(x).flatten(1).sum(1).mean()

        return memory.bytes_for_backward(loss)


def _fixed(part: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a part with its current weights, for many small calls."""
    return part.fixed() if isinstance(part, MaskedLinear) else part


def _check_shape(shape: Shape, hidden: int, head: int) -> None:
    if not is_image(shape) or shape[0] not in (1, 3):
        raise SettingError(
            f"shape = {shape!r}: a PixelRNN takes images (C, H, W) with C = 1 or 3 colors."
        )
    if min(hidden, head) < shape[0]:
        raise SettingError(
            f"hidden = {hidden}, head = {head}: each needs a feature for each of the {shape[0]} "
            "colors."
        )


def _check_settings(levels: int, kernel: int) -> None:
    if not 2 <= levels <= 256:
        raise SettingError(f"levels = {levels}: expected 2 (zeros and ones) to 256 (8-bit images).")
    if kernel % 2 == 0:
        raise SettingError(
            f"kernel = {kernel}: the first convolution needs a center; take an odd number."
        )
