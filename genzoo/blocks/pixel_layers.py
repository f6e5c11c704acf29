"""The three layers of a PixelRNN: Diagonal BiLSTM, Row LSTM and masked convolution, each whole and pixel by pixel.

A layer maps 2h features to 2h features, and no output sees a later pixel, or a later colour of its own. Each kind has a layout of
its own, with the features last: LSTMs store pixels front after front, `(P, batch, 2h)` with P = H * W; convolutions images,
`(batch, H, W, 2h)`.

To sample, `at` computes a few pixels from what a cache keeps of those before; it gives what `forward` would. Room for all pixels
has one place more, for what lies outside.

References:
    Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016, https://arxiv.org/abs/1601.06759
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import pad

from genzoo.blocks.masked import PAST, CausalConv, MaskedLinear, color_groups, sees
from genzoo.blocks.recurrent import Fronts, cell, diagonals, neighbor, rows, scan

Cache = dict[str, Any]
Spot = Any
"""Where a layer finds what it needs to compute some pixels; each kind of layer has its own."""
_KERNEL = 3
"""Of the convolution along a row and of the one in a PixelCNN."""


class PixelLayer(nn.Module):
    """What the three have in common.

    Arguments:
        hidden: h, the features inside.
        colours: C, the groups that features are split into.
        height: of the image.
        width: of the image.
        classes: how many labels there are to condition on, or 0.
        gates: how many numbers a label adds to.
    """

    reach = _KERNEL // 2
    """How many columns to the right a layer sees in the row above."""

    def __init__(
        self, hidden: int, colours: int, height: int, width: int, classes: int = 0, gates: int = 0
    ) -> None:
        super().__init__()
        self.hidden, self.width, self.pixels = hidden, width, height * width
        self.inner, self.outer = color_groups(hidden, colours), color_groups(2 * hidden, colours)
        self.up = MaskedLinear(self.inner, self.outer)
        if classes:
            self.label = nn.Embedding(classes, gates)
            nn.init.zeros_(self.label.weight)

    def enter(self, f: Tensor) -> Tensor:
        """Features of images, `(batch, 2h, H, W)`, in the layout that the layer works in, `(..., 2h)`."""
        raise NotImplementedError

    def leave(self, f: Tensor) -> Tensor:
        """Features in the layer's layout, `(..., k)`, as those of images again, `(batch, H, W, k)`."""
        raise NotImplementedError

    def forward(self, f: Tensor, y: Tensor | None = None) -> Tensor:
        """Features in the layer's layout, and labels `(batch,)`, to what the layer adds, likewise."""
        raise NotImplementedError

    def spots(self, fronts: Sequence[Tensor]) -> list[Spot]:
        """Where to look, for each set of pixels that are computed at once, in raster positions."""
        raise NotImplementedError

    def cache(self, batch: int, y: Tensor | None = None) -> Cache:
        """Room for what `at` keeps of the pixels of `batch` images, and the weights as they are now."""
        raise NotImplementedError

    def at(self, f: Tensor, spot: Spot, cache: Cache) -> Tensor:
        """As `forward`, at a few pixels, after all that they depend on: `(n, batch, 2h)` to the same."""
        raise NotImplementedError

    @staticmethod
    def finish_row(caches: Sequence[Cache]) -> None:
        """What is left to do when all pixels of a row are known, for the caches of all layers at once."""


class _LSTM(PixelLayer):
    """An LSTM over fronts; a subclass says which, what a pixel's input is, and what is made of the states."""

    mask: Tensor

    def __init__(
        self,
        hidden: int,
        colours: int,
        height: int,
        width: int,
        classes: int,
        fronts: Fronts,
        directions: int,
        own: Tensor,
    ) -> None:
        super().__init__(hidden, colours, height, width, classes, directions * 4 * hidden)
        self.fronts, self.directions = fronts, directions
        # of each direction the inputs, gates, states, cells and their tanh; the sum of the states
        inputs, states = len(own), len(fronts.before) * hidden
        self.weight = nn.Parameter(_uniform(inputs, directions, inputs, 4 * hidden))
        self.bias = nn.Parameter(_uniform(inputs, directions, 1, 4 * hidden))
        self.state_weight = nn.Parameter(_uniform(states, directions, states, 4 * hidden))
        with torch.no_grad():  # the candidate's rows stand doubled; see genzoo.blocks.recurrent
            for parameter in (self.weight, self.bias, self.state_weight):
                parameter[..., 2 * hidden : 3 * hidden] *= 2
        self.h0 = nn.Parameter(torch.zeros(directions, hidden))
        self.c0 = nn.Parameter(torch.zeros(directions, hidden))
        self.register_buffer(
            "mask", sees(self.inner.repeat(4), own).T, persistent=False
        )  # the same groups in each gate

    def enter(self, f: Tensor) -> Tensor:
        return rearrange(f, "b k r c -> (r c) b k").index_select(0, self.fronts.order)

    def leave(self, f: Tensor) -> Tensor:
        return rearrange(
            f.index_select(0, self.fronts.place[:-1]), "(r c) b k -> b r c k", c=self.width
        )

    def inputs(self, f: Tensor) -> Tensor:
        """What each direction reads at each pixel: `(P, batch, 2h)` -> `(directions, P, batch, inputs)`."""
        raise NotImplementedError

    def join(self, states: Tensor) -> Tensor:
        """`(directions, P + 1, batch, h)`, the last the one outside -> `(P, batch, h)`."""
        raise NotImplementedError

    def forward(self, f: Tensor, y: Tensor | None = None) -> Tensor:
        return self.up(
            self.join(
                scan(self.inputs(f), self.weights(), self.told(y), self.h0, self.c0, self.fronts)
            )
        )

    def weights(self) -> Tensor:
        """Those of inputs and states as one, `(directions, inputs + K * h, 4h)`."""
        return torch.cat([self.weight * self.mask, self.state_weight], 1)

    def told(self, y: Tensor | None) -> Tensor:
        """The gates' bias, with what labels add to it: `(directions, 1 or batch, 4h)`."""
        return (
            self.bias
            if y is None
            else self.bias + rearrange(self.label(y), "b (d k) -> d b k", d=self.directions)
        )

    def cache(self, batch: int, y: Tensor | None = None) -> Cache:
        """The weights, and what is outside."""
        h0, c0 = (start[:, None].repeat(1, batch, 1) for start in (self.h0, self.c0))
        return {
            "weight": self.weights(),
            "bias": self.told(y),
            "up": self.up.fixed(),
            "h0": h0,
            "c0": c0,
        }


class RowLSTM(_LSTM):
    """Rows from top to bottom: a convolution of 3 along the row, and one of 3 over the states of the row above.

    It sees a triangle above each pixel, and of the pixel's own row only what the convolutions reach.
    """

    left: Tensor

    def __init__(
        self, hidden: int, colours: int, height: int, width: int, classes: int = 0
    ) -> None:
        own = color_groups(2 * hidden, colours)
        left = torch.full_like(own, PAST)
        super().__init__(
            hidden,
            colours,
            height,
            width,
            classes,
            rows(height, width, _KERNEL),
            1,
            torch.cat([left, own]),
        )
        self.register_buffer("left", neighbor(height, width, 0, -1), persistent=False)

    def inputs(self, f: Tensor) -> Tensor:
        image = f.unflatten(0, (-1, self.width))
        left = pad(image, (0, 0, 0, 0, 1, 0))[:, :-1]
        return torch.cat([left, image], -1).flatten(0, 1)[None]

    def join(self, states: Tensor) -> Tensor:
        return states[0, :-1]

    def cache(self, batch: int, y: Tensor | None = None) -> Cache:
        cache = super().cache(batch, y)
        h, c = (
            cache[f"{name}0"][0].repeat(self.pixels + 1, 1, 1) for name in ("h", "c")
        )  # the last is what lies outside
        return {**cache, "h": h, "c": c, "f": h.new_zeros(self.pixels + 1, batch, 2 * self.hidden)}

    def spots(self, fronts: Sequence[Tensor]) -> list[Spot]:
        return [
            (front, self.left[front], self.fronts.before[:, front].unbind()) for front in fronts
        ]

    def at(self, f: Tensor, spot: Spot, cache: Cache) -> Tensor:
        here, left, above = spot
        h, c = cache["h"], cache["c"]
        cache["f"].index_copy_(0, here, f)
        x = torch.cat(
            [cache["f"].index_select(0, left), f, *(h.index_select(0, each) for each in above)], -1
        )
        new_h, new_c = cell(
            (x @ cache["weight"][0]).add_(cache["bias"][0]),
            c.index_select(0, above[self.fronts.carry]),
        )
        h.index_copy_(0, here, new_h)
        c.index_copy_(0, here, new_c)
        return cache["up"](new_h)


class DiagonalBiLSTM(_LSTM):
    """Diagonals from both upper corners: each state sees the one above and the one beside it, and so all above its diagonal.

    The direction from the right reads the mirrored image, and its states move one row down, since in their own row they have seen
    pixels that come later. Above the image is its initial state. As the paper defines it, the last pixel of the row above is
    seen by a pixel only where the first convolution reaches it: a state never sees the last colour of its own pixel.
    """

    mirror: Tensor
    above: Tensor

    def __init__(
        self, hidden: int, colours: int, height: int, width: int, classes: int = 0
    ) -> None:
        fronts = diagonals(height, width)
        super().__init__(
            hidden, colours, height, width, classes, fronts, 2, color_groups(2 * hidden, colours)
        )
        self.reach = width - 1
        mirrored = torch.arange(height * width).view(height, width).flip(1).flatten()
        above = torch.cat(
            [torch.full((width,), height * width), mirrored[:-width]]
        )  # in the mirrored image
        self.register_buffer("mirror", fronts.place[mirrored[fronts.order]], persistent=False)
        self.register_buffer("above", fronts.place[above[fronts.order]], persistent=False)

    def inputs(self, f: Tensor) -> Tensor:
        return torch.stack([f, f.index_select(0, self.mirror)])

    def join(self, states: Tensor) -> Tensor:
        return states[0, :-1] + states[1].index_select(0, self.above)

    def cache(self, batch: int, y: Tensor | None = None) -> Cache:
        """Only rows are kept, as lists of pixels: that at hand, and the states of both directions in the one above."""
        cache = super().cache(batch, y)
        h0, c0 = cache["h0"], cache["c0"]
        starts = {"above": h0[0], "right": h0[1], "h": h0[0], "c": c0[0], "f": None}
        return {**cache, **{name: [start] * self.width for name, start in starts.items()}}

    def spots(self, fronts: Sequence[Tensor]) -> list[Spot]:
        """The column of each front, which is a single pixel: they come in raster order."""
        return [pixel % self.width for pixel in range(len(fronts))]

    def at(self, f: Tensor, spot: Spot, cache: Cache) -> Tensor:
        h, c = cache["h"], cache["c"]
        beside, carried = (h[spot - 1], c[spot - 1]) if spot else (cache["h0"][0], cache["c0"][0])
        cache["f"][spot] = f[0]
        told = torch.cat([f[0], cache["above"][spot], beside], -1)
        h[spot], c[spot] = cell(torch.addmm(cache["bias"][0], told, cache["weight"][0]), carried)
        return cache["up"]((h[spot] + cache["right"][spot])[None])

    @staticmethod
    def finish_row(caches: Sequence[Cache]) -> None:
        """The direction from the right, along a row whose pixels are all known: every layer's input is, so all go at once."""
        # (layers, W, batch, ...), and one of each a layer
        f, right = (
            torch.stack([torch.stack(cache[name]) for cache in caches]) for name in ("f", "right")
        )
        each = (
            torch.stack([cache[name][1] for cache in caches])
            for name in ("weight", "bias", "h0", "c0")
        )
        weight, bias, beside, carried = each
        own, states = (part.contiguous() for part in weight.tensor_split([f.shape[-1]], 1))
        z = (f.flatten(1, 2) @ own).unflatten(1, f.shape[1:3]).add_(bias[:, None])
        for column in reversed(range(z.shape[1])):
            told = torch.cat([right[:, column], beside], -1)
            beside, carried = cell(z[:, column].baddbmm_(told, states), carried)
            for cache, state in zip(caches, beside.unbind(), strict=True):
                cache["right"][column] = state
        for cache in caches:
            cache["above"] = list(cache["h"])


class ConvLayer(PixelLayer):
    """A PixelCNN's layer: h features, a masked 3x3 convolution, 2h features again, with a ReLU before each."""

    seen: Tensor

    def __init__(
        self, hidden: int, colours: int, height: int, width: int, classes: int = 0
    ) -> None:
        super().__init__(hidden, colours, height, width, classes, hidden)
        self.down = MaskedLinear(self.outer, self.inner)
        self.conv = CausalConv(self.inner, self.inner, _KERNEL, strict=False)
        self.register_buffer("seen", self.conv.taps(height, width), persistent=False)

    def enter(self, f: Tensor) -> Tensor:
        return rearrange(f, "b k r c -> b r c k").contiguous()

    def leave(self, f: Tensor) -> Tensor:
        return f

    def forward(self, f: Tensor, y: Tensor | None = None) -> Tensor:
        h = rearrange(self.down(f.relu()).relu(), "b r c k -> b k r c")
        h = rearrange(self.conv(h), "b k r c -> b r c k")
        return self.up((h if y is None else h + self.label(y)[:, None, None]).relu())

    def spots(self, fronts: Sequence[Tensor]) -> list[Spot]:
        return [(front, self.seen[:, front]) for front in fronts]

    def cache(self, batch: int, y: Tensor | None = None) -> Cache:
        h = self.conv.bias.new_zeros(self.pixels + 1, batch, self.hidden)
        return {
            "h": h,
            "told": 0.0 if y is None else self.label(y),
            "down": self.down.fixed(),
            "conv": self.conv.fixed(),
            "up": self.up.fixed(),
        }

    def at(self, f: Tensor, spot: Spot, cache: Cache) -> Tensor:
        here, seen = spot
        cache["h"].index_copy_(0, here, cache["down"](f.relu()).relu_())
        h = (
            cache["conv"](cache["h"].index_select(0, seen.flatten()).unflatten(0, seen.shape))
            + cache["told"]
        )
        return cache["up"](h.relu_())


def _uniform(inputs: int, *shape: int) -> Tensor:
    """As torch's linear layers start."""
    bound = 1 / math.sqrt(inputs)
    return torch.empty(shape).uniform_(-bound, bound)
