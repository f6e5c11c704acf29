r"""An LSTM over the pixels of an image: all pixels of a front at once, each from its neighbours in earlier fronts.

Fronts that are rows, with three neighbours above, make the Row LSTM; fronts that are diagonals, with the neighbours above and to
the left, make one direction of the Diagonal BiLSTM. Pixels are stored front after front, so that a front is a slice, and no
position outside the image is ever computed.

\[ [i, f, o, g] = [\sigma, \sigma, \sigma, \tanh](z + U h_{\text{neighbours}}), \qquad c = f \odot c_{\text{carry}} + i \odot g,
   \qquad h = o \odot \tanh(c) \]

Pre-activations of \( g \) stand doubled, since \( \tanh x = 2 \sigma(2x) - 1 \): one sigmoid then makes all four gates, which is
the fastest way on a CPU. Weights learn that by themselves; they only have to start twice as large.

References:
    Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016, https://arxiv.org/abs/1601.06759
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def neighbour(height: int, width: int, down: int, right: int) -> Tensor:
    """For each pixel in raster order, the pixel so far down and to the right of it; `height * width` where that is outside.

    Example:
        >>> neighbour(2, 3, -1, 0).tolist()
        [6, 6, 6, 0, 1, 2]
    """
    r, c = torch.arange(height)[:, None] + down, torch.arange(width) + right
    inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
    return torch.where(inside, r * width + c, height * width).flatten()


class Fronts(nn.Module):
    """In which order pixels are computed, and from which others: pure geometry, kept as buffers so that it moves with a model.

    Arguments:
        height: of the image.
        width: of the image.
        number: the front of each pixel in raster order, `(height * width,)`.
        offsets: the neighbours whose states a pixel reads, as `(down, right)`; all lie in earlier fronts.
        carry: which of them hands on its cell.
    """

    order: Tensor
    place: Tensor
    before: Tensor
    after: Tensor

    def __init__(self, height: int, width: int, number: Tensor, offsets: Sequence[tuple[int, int]], carry: int) -> None:
        super().__init__()
        self.height, self.width, self.carry = height, width, carry
        order = number.argsort(stable=True)
        place = torch.cat([order.argsort(), torch.tensor([len(order)])])
        self.sizes = torch.bincount(number).tolist()
        raster = [torch.stack([neighbour(height, width, s * r, s * c) for r, c in offsets]) for s in (1, -1)]
        for name, value in (
            ("order", order),  # raster position of each stored pixel
            ("place", place),  # stored position of each raster pixel; one past the last stands for outside
            ("before", place[raster[0][:, order]]),  # (K, P), stored positions of the neighbours
            ("after", place[raster[1][:, order]]),  # of the pixels that it is a neighbour of
        ):
            self.register_buffer(name, value, persistent=False)

    def extra_repr(self) -> str:
        return f"{self.height} x {self.width} in {len(self.sizes)} fronts"


def rows(height: int, width: int, kernel: int) -> Fronts:
    """Fronts that are rows; a pixel's neighbours are the `kernel` pixels above it."""
    half = kernel // 2
    number = torch.arange(height).repeat_interleave(width)
    return Fronts(height, width, number, [(-1, right) for right in range(-half, half + 1)], half)


def diagonals(height: int, width: int) -> Fronts:
    """Fronts that are diagonals; a pixel's neighbours are those above and to the left."""
    number = (torch.arange(height)[:, None] + torch.arange(width)).flatten()
    return Fronts(height, width, number, [(-1, 0), (0, -1)], 1)


def cell(z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One LSTM cell: pre-activations `(..., 4h)` as the module says, and cells `(..., h)`, to new states and cells."""
    i, f, o, g = z.sigmoid_().chunk(4, -1)
    c = torch.addcmul(f * c, i, g, value=2).sub_(i)
    return o * _tanh(c), c


def _tanh(x: Tensor) -> Tensor:
    """By torch's sigmoid, which is several times as fast, unless there are so few numbers that calls are what costs."""
    return x.tanh() if x.numel() < 4096 else (2 * x).sigmoid_().mul_(2).sub_(1)


def scan(z: Tensor, weight: Tensor, h0: Tensor, c0: Tensor, fronts: Fronts) -> Tensor:
    """The states of an LSTM over an image, for several directions at once.

    Arguments:
        z: what the input adds to the gates, `(directions, P, batch, 4h)` with P pixels in the order of `fronts`.
        weight: what the neighbours' states add, `(directions, K * h, 4h)`.
        h0: states outside the image, `(directions, h)`.
        c0: cells outside the image, `(directions, h)`.
        fronts: the geometry.

    Returns:
        `(directions, P + 1, batch, h)`, the last one the state outside; differentiable in all tensors.
    """
    return _forward(z, weight, h0, c0, fronts.before, fronts.after, fronts.sizes, fronts.carry)[0]


@torch.library.custom_op("genzoo::lstm_scan", mutates_args=())
def _forward(
    z: Tensor,
    weight: Tensor,
    h0: Tensor,
    c0: Tensor,
    before: Tensor,
    after: Tensor,  # noqa: ARG001, for the backward pass
    sizes: Sequence[int],
    carry: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """States, cells (both with the ones outside, last) and the gates' sigmoids, `(directions, P, batch, 4h)`."""
    directions, pixels, batch, _ = z.shape
    h = z.new_empty(directions, pixels + 1, batch, h0.shape[-1])
    c = torch.empty_like(h)
    h[:, -1], c[:, -1] = h0[:, None], c0[:, None]
    gates = z.clone(memory_format=torch.contiguous_format)
    first = 0
    for size in sizes:
        here = slice(first, first + size)
        states = torch.cat([h.index_select(1, row) for row in before[:, here]], -1)
        front = gates[:, here].flatten(1, 2)  # a view: a front is a slice
        front.baddbmm_(states.flatten(1, 2), weight)
        new_h, new_c = cell(gates[:, here], c.index_select(1, before[carry, here]))
        h[:, here], c[:, here] = new_h, new_c
        first += size
    return h, c, gates


@torch.library.custom_op("genzoo::lstm_scan_backward", mutates_args=())
def _backward(
    grad: Tensor,
    weight: Tensor,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    before: Tensor,
    after: Tensor,
    sizes: Sequence[int],
    carry: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by z, the weight, h0 and c0 from that by the states."""
    directions, pixels, batch, _ = gates.shape
    hidden, taps = h.shape[-1], len(before)
    d_z = torch.empty_like(gates)
    # what each pixel sends back to its neighbours; the last place stands for pixels that are not there, and stays 0
    d_states = h.new_zeros(taps, *h.shape)
    d_cells = torch.zeros_like(h)
    tanh = _tanh(c[:, :pixels])
    end = pixels
    for size in reversed(sizes):
        here = slice(end - size, end)
        i, f, o, g = gates[:, here].chunk(4, -1)
        t = tanh[:, here]
        d_h = grad[:, here].clone()
        for tap in range(taps):
            d_h += d_states[tap].index_select(1, after[tap, here])
        d_c = d_cells.index_select(1, after[carry, here])
        d_c += d_h * o * (1 - t * t)
        d_gates = torch.cat([d_c * (2 * g - 1), d_c * c.index_select(1, before[carry, here]), d_h * t, 2 * d_c * i], -1)
        d_cells[:, here] = d_c * f
        d_front = torch.ops.aten.sigmoid_backward(d_gates, gates[:, here])
        d_z[:, here] = d_front
        sent = torch.bmm(d_front.flatten(1, 2), weight.mT).view(directions, size, batch, taps, hidden)
        d_states[:, :, here] = sent.permute(3, 0, 1, 2, 4)
        end -= size
    states = torch.cat([h.index_select(1, row) for row in before], -1)
    d_weight = torch.bmm(states.flatten(1, 2).mT, d_z.flatten(1, 2))
    outside = before == pixels
    d_h0 = grad[:, pixels].sum(1)
    for tap in range(taps):
        d_h0 += d_states[tap][:, :pixels].mul(outside[tap, :, None, None]).sum((1, 2))
    d_c0 = d_cells[:, :pixels].mul(outside[carry, :, None, None]).sum((1, 2))
    return d_z, d_weight, d_h0, d_c0


@_forward.register_fake
def _(z: Tensor, _weight: Tensor, h0: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    directions, pixels, batch = z.shape[:3]
    h = z.new_empty(directions, pixels + 1, batch, h0.shape[-1])
    return h, torch.empty_like(h), torch.empty_like(z, memory_format=torch.contiguous_format)


@_backward.register_fake
def _(_grad: Tensor, weight: Tensor, h: Tensor, _c: Tensor, gates: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    start = h.new_empty(len(h), h.shape[-1])
    return torch.empty_like(gates), torch.empty_like(weight), start, torch.empty_like(start)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, weight, _, _, before, after, sizes, carry = inputs
    ctx.fronts = sizes, carry
    ctx.save_for_backward(weight, *output, before, after)
    ctx.mark_non_differentiable(*output[1:])


def _differentiate(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    weight, h, c, gates, before, after = ctx.saved_tensors
    return (*_backward(grad.contiguous(), weight, h, c, gates, before, after, *ctx.fronts), None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_setup)
