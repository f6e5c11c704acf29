r"""An LSTM over the pixels of an image, which computes all pixels of a front at once.

The Row LSTM has rows as fronts, and each pixel has three neighbors above it. Each direction of the
Diagonal BiLSTM has diagonals as fronts, and the neighbors above and to the left. Pixels are stored
front after front, so a front is a slice, and positions outside the image are never computed.

\[ [i, f, g, o] = [\sigma, \sigma, \tanh, \sigma](W x + b + U h_{\text{neighbors}}), \qquad
   c = f \odot c_{\text{carry}} + i \odot g, \qquad h = o \odot \tanh(c) \]

The pre-activations of \( g \) are stored doubled, because \( \tanh x = 2 \sigma(2x) - 1 \): a
single sigmoid then computes all four gates, which is the fastest way on a CPU. Training adapts to
it; only the initial weights must be twice as large.

References:
    Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016,
        https://arxiv.org/abs/1601.06759
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.blocks.reverse_only import refuse_forward_mode

__all__ = ["Fronts", "cell", "diagonals", "neighbor", "rows", "scan"]


def neighbor(height: int, width: int, down: int, right: int) -> Tensor:
    """Return, for each pixel in raster order, the pixel `down` below and `right` to its right.

    Pixels outside the image are `height * width`.

    Example:
        >>> neighbor(2, 3, -1, 0).tolist()
        [6, 6, 6, 0, 1, 2]
    """
    r, c = torch.arange(height)[:, None] + down, torch.arange(width) + right
    inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
    return torch.where(inside, r * width + c, height * width).flatten()


class Fronts(nn.Module):
    """The order in which pixels are computed, and the neighbors of each pixel.

    These are buffers, so they move to a device together with a model.

    Arguments:
        height: the height of the image.
        width: the width of the image.
        number: the front of each pixel in raster order, `(height * width,)`.
        offsets: the neighbors whose states a pixel reads, as `(down, right)`; all are in earlier
            fronts.
        carry: the index of the neighbor whose cell a pixel continues.
    """

    order: Tensor
    """The raster position of each stored pixel, `(P,)`."""
    position: Tensor
    """The stored position of each raster position, `(P + 1,)`; the last one stands for outside."""
    before: Tensor
    """The stored positions of the neighbors of each stored pixel, `(K, P)`."""
    after: Tensor
    """The stored positions of the pixels whose neighbor each stored pixel is, `(K, P)`."""

    def __init__(
        self,
        *,
        height: int,
        width: int,
        number: Tensor,
        offsets: Sequence[tuple[int, int]],
        carry: int,
    ) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.carry = carry
        self.sizes = torch.bincount(number).tolist()
        order = number.argsort(stable=True)
        position = torch.cat([order.argsort(), torch.tensor([len(order)])])
        before = torch.stack([neighbor(height, width, r, c) for r, c in offsets])
        after = torch.stack([neighbor(height, width, -r, -c) for r, c in offsets])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("before", position[before[:, order]], persistent=False)
        self.register_buffer("after", position[after[:, order]], persistent=False)

    def extra_repr(self) -> str:
        return f"{self.height} x {self.width} in {len(self.sizes)} fronts"


def rows(height: int, width: int, kernel: int) -> Fronts:
    """Return fronts that are rows. A pixel's neighbors are the `kernel` pixels above it.

    Example:
        >>> rows(2, 3, kernel=3).sizes
        [3, 3]
    """
    half = kernel // 2
    return Fronts(
        height=height,
        width=width,
        number=torch.arange(height).repeat_interleave(width),
        offsets=[(-1, right) for right in range(-half, half + 1)],
        carry=half,
    )


def diagonals(height: int, width: int) -> Fronts:
    """Return fronts that are diagonals. A pixel's neighbors are the ones above and to the left.

    Example:
        >>> diagonals(2, 3).sizes  # the pixels of each diagonal
        [1, 2, 2, 1]
    """
    return Fronts(
        height=height,
        width=width,
        number=(torch.arange(height)[:, None] + torch.arange(width)).flatten(),
        offsets=[(-1, 0), (0, -1)],
        carry=1,
    )


def cell(z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Compute one step of the LSTM.

    Arguments:
        z: pre-activations, `(..., 4h)`, which are doubled for g. They are overwritten.
        c: the cells that are continued, `(..., h)`.

    Returns:
        The new states and cells, `(..., h)` each.
    """
    i, f, g, o = z.sigmoid_().chunk(4, -1)
    c = torch.addcmul(f * c, i, g, value=2).sub_(i)
    return o * _tanh_(c.clone()), c


def _tanh_(x: Tensor) -> Tensor:
    """Compute tanh in place.

    torch's sigmoid is several times as fast as its tanh. For few numbers, a single call is faster.
    """
    return x.tanh_() if x.numel() < 4096 else x.mul_(2).sigmoid_().mul_(2).sub_(1)


def scan(x: Tensor, weight: Tensor, bias: Tensor, h0: Tensor, c0: Tensor, fronts: Fronts) -> Tensor:
    """Return the states of an LSTM over an image, for several directions at once.

    Arguments:
        x: inputs, `(directions, P, batch, inputs)` with P pixels in the order of `fronts`.
        weight: weights of the inputs, then of the states of each neighbor,
            `(directions, inputs + K * h, 4h)`.
        bias: `(directions, 1, 4h)`, or `(directions, batch, 4h)` if examples differ.
        h0: states outside the image, `(directions, h)`.
        c0: cells outside the image, `(directions, h)`.
        fronts: the order of the pixels and their neighbors.

    Returns:
        `(directions, P + 1, batch, h)`, differentiable in all tensors. The last entry is the state
        outside the image.

    Raises:
        SettingError: a forward-mode derivative is requested.
    """
    refuse_forward_mode("an LSTM's scan")
    # An exported program runs without genzoo, so it cannot contain its operators.
    if torch.compiler.is_exporting():
        return _plain(x, weight, bias, h0, c0, fronts)
    return _forward(
        x, weight, bias, h0, c0, fronts.before, fronts.after, fronts.sizes, fronts.carry
    )[0]


def _plain(
    x: Tensor, weight: Tensor, bias: Tensor, h0: Tensor, c0: Tensor, fronts: Fronts
) -> Tensor:
    """Return the states with operators of torch; all neighbors are in the front before."""
    _, pixels, batch, _ = x.shape
    outside = [t[:, None, None].expand(-1, 1, batch, -1) for t in (h0, c0)]
    h, c = outside
    states, first, previous = [], 0, 0
    for size in fronts.sizes:
        front = slice(first, first + size)
        before = fronts.before[:, front]
        # The states of the front before, followed by the one outside the image.
        before = torch.where(before == pixels, previous, before - (first - previous))
        inputs = [x[:, front], *(h.index_select(1, row) for row in before.unbind())]
        z = torch.cat(inputs, -1) @ weight[:, None] + bias[:, None]
        i, f, g, o = z.sigmoid().chunk(4, -1)
        c = f * c.index_select(1, before[fronts.carry]) + i * (2 * g - 1)
        states.append(o * c.tanh())
        h, c = (torch.cat(pair, 1) for pair in zip((states[-1], c), outside, strict=True))
        first, previous = first + size, size
    return torch.cat([*states, outside[0]], 1)


def _front_inputs(x: Tensor, h: Tensor, before: Tensor) -> Tensor:
    """Return the inputs of a front's pixels and the states of their neighbors, concatenated."""
    return torch.cat([x, *(h.index_select(1, row) for row in before.unbind())], -1).flatten(1, 2)


@torch.library.custom_op("genzoo::lstm_scan", mutates_args=())
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    h0: Tensor,
    c0: Tensor,
    before: Tensor,
    after: Tensor,  # noqa: ARG001
    sizes: Sequence[int],
    carry: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the states, the cells, tanh of the cells, and the gates.

    States and cells are `(directions, P + 1, batch, h)`, with the values outside the image last.
    Gates are sigmoids, `(directions, P, batch, 4h)`.
    """
    directions, pixels, batch, _ = x.shape
    h = x.new_empty(directions, pixels + 1, batch, h0.shape[-1])
    c, tanh = torch.empty_like(h), h.new_empty(directions, pixels, batch, h0.shape[-1])
    h[:, -1], c[:, -1] = h0[:, None], c0[:, None]
    gates = x.new_empty(directions, pixels, batch, weight.shape[-1])
    first = 0
    for size in sizes:
        front = slice(first, first + size)
        z = (_front_inputs(x[:, front], h, before[:, front]) @ weight).unflatten(1, (size, batch))
        sigmoids = z.add_(bias[:, None]).sigmoid_()
        gates[:, front] = sigmoids
        i, f, g, o = sigmoids.chunk(4, -1)
        new_c, new_tanh = c[:, front], tanh[:, front]
        torch.mul(f, c.index_select(1, before[carry, front]), out=new_c)
        new_c.addcmul_(i, g, value=2).sub_(i)
        torch.mul(o, _tanh_(new_tanh.copy_(new_c)), out=h[:, front])
        first += size
    return h, c, tanh, gates


@torch.library.custom_op("genzoo::lstm_scan_backward", mutates_args=())
def _backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    h: Tensor,
    c: Tensor,
    tanh: Tensor,
    gates: Tensor,
    before: Tensor,
    after: Tensor,
    sizes: Sequence[int],
    carry: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of the inputs, the weight, the bias, h0, and c0.

    Fronts are processed one after the other, because the data of one front fit into a processor's
    cache.
    """
    _, pixels, batch, inputs = x.shape
    hidden, taps = h.shape[-1], len(before)
    d_x, d_weight, d_bias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
    # The gradients that each pixel sends to its neighbors. The last entry stands for outside.
    d_states, d_cells = h.new_empty(taps, *h.shape), torch.empty_like(h)
    d_states[:, :, -1], d_cells[:, -1] = 0, 0
    end = pixels
    for size in reversed(sizes):
        front = slice(end - size, end)
        d_h = grad[:, front].clone()
        for sent, row in zip(d_states, after[:, front].unbind(), strict=True):
            d_h += sent.index_select(1, row)
        t, sigmoids = tanh[:, front], gates[:, front]
        i, f, g, o = sigmoids.chunk(4, -1)
        d_c = d_cells.index_select(1, after[carry, front]).addcmul_(d_h, o * (1 - t * t))
        torch.mul(d_c, f, out=d_cells[:, front])
        by_i, by_f = d_c * g.mul(2).sub_(1), d_c * c.index_select(1, before[carry, front])
        d_gates = torch.cat([by_i, by_f, (d_c * i).mul_(2), d_h.mul_(t)], -1)
        d_z = torch.ops.aten.sigmoid_backward(d_gates, sigmoids).flatten(1, 2)
        d_weight.baddbmm_(_front_inputs(x[:, front], h, before[:, front]).mT, d_z)
        d_bias += (
            d_z.sum(1, keepdim=True)
            if bias.shape[1] == 1
            else d_z.unflatten(1, (size, batch)).sum(1)
        )
        d_inputs = torch.bmm(d_z, weight.mT).unflatten(1, (size, batch))
        d_x[:, front] = d_inputs[..., :inputs]
        d_states[:, :, front] = (
            d_inputs[..., inputs:].unflatten(-1, (taps, hidden)).permute(3, 0, 1, 2, 4)
        )
        end -= size
    d_h0 = grad[:, -1].sum(1)
    for sent, row in zip(d_states, before.unbind(), strict=True):
        d_h0 += sent[:, :-1].mul((row == pixels)[:, None, None]).sum((1, 2))
    d_c0 = d_cells[:, :-1].mul((before[carry] == pixels)[:, None, None]).sum((1, 2))
    return d_x, d_weight, d_bias, d_h0, d_c0


@_forward.register_fake
def _(
    x: Tensor, weight: Tensor, _: Tensor, h0: Tensor, *__: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    directions, pixels, batch = x.shape[:3]
    h = x.new_empty(directions, pixels + 1, batch, h0.shape[-1])
    tanh, gates = (
        x.new_empty(directions, pixels, batch, size) for size in (h0.shape[-1], weight.shape[-1])
    )
    return h, torch.empty_like(h), tanh, gates


@_backward.register_fake
def _(
    _: Tensor, x: Tensor, weight: Tensor, bias: Tensor, h: Tensor, *__: Any
) -> tuple[Tensor, ...]:
    start = h.new_empty(h.shape[0], h.shape[-1])
    return (
        x.new_empty(x.shape),
        *(torch.empty_like(like) for like in (weight, bias, start, start)),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, _, _, before, after, sizes, carry = inputs
    ctx.fronts = sizes, carry
    ctx.save_for_backward(x, weight, bias, *output, before, after)
    ctx.mark_non_differentiable(*output[1:])
    # Otherwise, torch would create zero gradients for the outputs that are not differentiable.
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 9
    return (*_backward(grad.contiguous(), *ctx.saved_tensors, *ctx.fronts), None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_setup)
# Sums over many steps keep single precision in mixed-precision runs.
for _device in ("cpu", "cuda"):
    _forward.register_autocast(_device, torch.float32)
