r"""The recursion of NADE, in memory that hardly grows with the number of dimensions.

\[ a_1 = c, \qquad h_d = \sigma(\rho_d\, a_d), \qquad o_d = V_d h_d + b_d, \qquad
   a_{d+1} = a_d + W_d\, x_d \]

Keeping the hidden units for every d would take D times the memory of one layer. Instead, only the
first \( a \) of each block is kept, and the backward pass recomputes the units of a block from it.
A CPU runs the recursion of a block in place, in its cache. An accelerator computes all units of a
block at once, as a cumulative sum.

References:
    The Neural Autoregressive Distribution Estimator, Larochelle and Murray, 2011,
        https://proceedings.mlr.press/v15/larochelle11a
    RNADE (the factors), Uria, Murray and Larochelle, 2013, https://arxiv.org/abs/1306.0186
"""

from __future__ import annotations

import math
from typing import Any, Literal, Optional

import torch
from torch import Tensor

from genzoo.blocks.reverse_only import refuse_forward_mode

__all__ = ["Units", "act", "block_length", "recursion"]

Units = Literal["sigmoid", "relu"]
"""The nonlinearity of the hidden units."""


def recursion(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    scale: Tensor | None,
    units: Units,
) -> Tensor:
    r"""Return the outputs of each dimension, \( o_d \), which depend on the dimensions before it.

    Arguments:
        x: examples with their dimensions in the model's order, `(batch, D)`.
        weight: \( W \), `(D, H)`.
        bias: \( c \), `(H,)`, or `(batch, H)` for a different one in each example.
        out_weight: \( V \), `(D, K, H)`.
        out_bias: \( b \), `(D, K)`.
        scale: \( \rho \), `(D,)`, or None for ones.
        units: \( \sigma \).

    Returns:
        `(batch, D, K)`; differentiable in every tensor, `x` included.

    Raises:
        SettingError: a forward-mode derivative is requested.

    Example:
        >>> sizes = [(4, 6), (6, 5), (5,), (6, 1, 5), (6, 1)]
        >>> tensors = [torch.rand(size) for size in sizes]
        >>> recursion(*tensors, scale=None, units="sigmoid").shape
        torch.Size([4, 6, 1])
    """
    refuse_forward_mode("NADE's recursion")
    # An exported program runs without genzoo, so it cannot contain its operators.
    forward = _plain if torch.compiler.is_exporting() else _in_blocks
    return forward(x, weight, bias, out_weight, out_bias, scale, units).transpose(0, 1)


def _plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    scale: Tensor | None,
    units: Units,
) -> Tensor:
    """Compute the outputs, `(D, batch, K)`, with few operators of torch and D hidden layers."""
    a = _activations(bias.expand(x.shape[0], -1), x.t(), weight)
    return _outputs(a, out_weight, out_bias, scale, units)


def _in_blocks(*arguments: Any) -> Tensor:
    """Compute the outputs, `(D, batch, K)`, with genzoo's operator."""
    out, _ = _forward(*arguments)
    return out


def act(a: Tensor, units: str, out: Tensor | None = None) -> Tensor:
    """Apply the nonlinearity of the hidden units to pre-activations."""
    return torch.sigmoid(a, out=out) if units == "sigmoid" else torch.clamp_min(a, 0, out=out)


def _act_backward(grad: Tensor, h: Tensor, units: str) -> Tensor:
    """Overwrite the gradient of the units with that of the pre-activations, and return it."""
    if units == "sigmoid":
        return torch.ops.aten.sigmoid_backward.grad_input(grad, h, grad_input=grad)
    return torch.ops.aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad)


def block_length(dims: int) -> int:
    """Return the block length at which kept and recomputed memory are about equal."""
    return max(1, math.isqrt(dims))


@torch.library.custom_op("genzoo::nade", mutates_args=())
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    scale: Optional[Tensor],  # noqa: UP045
    units: str,
) -> tuple[Tensor, Tensor]:
    """Return the outputs, `(D, batch, K)`, and the first pre-activations of each block.

    The latter are `(blocks, batch, H)`.
    """
    block = _in_place if x.device.type == "cpu" else _at_once
    (dims, hidden), batch = weight.shape, x.shape[0]
    length = block_length(dims)
    out = x.new_empty(dims, batch, out_weight.shape[1])
    starts = x.new_empty(-(-dims // length), batch, hidden)
    a = bias.expand(batch, hidden).clone()
    rows = x.t().contiguous()
    for start, first in zip(starts, range(0, dims, length), strict=True):
        start.copy_(a)
        part = slice(first, first + length)
        block(
            a=a,
            x=rows[part],
            weight=weight[part],
            out_weight=out_weight[part],
            out_bias=out_bias[part],
            scale=None if scale is None else scale[part],
            units=units,
            out=out[part],
        )
    return out, starts


def _in_place(
    a: Tensor,
    x: Tensor,
    weight: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    scale: Tensor | None,
    units: str,
    out: Tensor,
) -> None:
    """Write the outputs of a block to `out`, `(C, batch, K)`, and advance `a` past the block.

    Each dimension is one step, which fits into a processor's cache.
    """
    h = torch.empty_like(a)
    columns = (x, weight, out_weight.mT, out_bias, out)
    for d, (x_d, weight_d, out_weight_d, out_bias_d, out_d) in enumerate(
        zip(*(t.unbind() for t in columns), strict=True)
    ):
        act(a if scale is None else torch.mul(a, scale[d], out=h), units, out=h)
        torch.addmm(out_bias_d, h, out_weight_d, out=out_d)
        a.addr_(x_d, weight_d)


def _at_once(
    a: Tensor,
    x: Tensor,
    weight: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    scale: Tensor | None,
    units: str,
    out: Tensor,
) -> None:
    """Compute the same as `_in_place` in a few large operations."""
    before = _activations(a, x, weight)
    a.copy_(before[-1].addr(x[-1], weight[-1]))
    _outputs(before, out_weight, out_bias, scale, units, out)


def _outputs(
    a: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    scale: Tensor | None,
    units: str,
    out: Tensor | None = None,
) -> Tensor:
    """Compute the outputs, `(C, batch, K)`, from the pre-activations `a` of all dimensions."""
    h = act(a if scale is None else a * scale[:, None, None], units)
    return torch.baddbmm(out_bias[:, None], h, out_weight.mT, out=out)


def _activations(a: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return the pre-activations of a block, `(C, batch, H)`, from the first, `(batch, H)`."""
    steps = torch.cat([a[None], x[:-1, :, None] * weight[:-1, None, :]])
    return steps.cumsum(0)


@torch.library.custom_op("genzoo::nade_backward", mutates_args=())
def _backward(
    grad: Tensor,
    starts: Tensor,
    x: Tensor,
    weight: Tensor,
    out_weight: Tensor,
    scale: Optional[Tensor],  # noqa: UP045
    units: str,
    *,
    by_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, W, c, V, and the scale, given that of the outputs.

    The gradient of c is that of each example, `(batch, H)`. The gradient of x is empty unless
    `by_x` is True; that of a scale that is None is empty.
    """
    block = _back_in_place if x.device.type == "cpu" else _back_at_once
    dims, length = len(weight), block_length(len(weight))
    rows = x.t().contiguous()
    d_x = rows.new_empty(dims * by_x, x.shape[0])
    d_weight, d_out = torch.empty_like(weight), torch.empty_like(out_weight)
    d_scale = x.new_empty(0 if scale is None else dims)
    # the gradient of the pre-activations after the current block
    d_a = torch.zeros_like(starts[0])
    for start, first in reversed(list(zip(starts, range(0, dims, length), strict=True))):
        part = slice(first, first + length)
        block(
            d_a=d_a,
            grad=grad[part],
            start=start,
            x=rows[part],
            weight=weight[part],
            out_weight=out_weight[part],
            scale=None if scale is None else scale[part],
            units=units,
            d_x=d_x[part],
            d_weight=d_weight[part],
            d_out=d_out[part],
            d_scale=d_scale[part],
        )
    return d_x.t().contiguous(), d_weight, d_a, d_out, d_scale


def _back_in_place(
    d_a: Tensor,
    grad: Tensor,
    start: Tensor,
    x: Tensor,
    weight: Tensor,
    out_weight: Tensor,
    scale: Tensor | None,
    units: str,
    d_x: Tensor,
    d_weight: Tensor,
    d_out: Tensor,
    d_scale: Tensor,
) -> None:
    """Write the gradients of a block, and move `d_a` to its start.

    Intermediate results stay in a processor's cache.
    """
    a, h, buffer = start.clone(), start.new_empty(x.shape[0], *start.shape), torch.empty_like(start)
    before = None if scale is None else torch.empty_like(h)
    for d, (h_d, x_d, weight_d) in enumerate(
        zip(h.unbind(), x.unbind(), weight.unbind(), strict=True)
    ):
        if before is not None and scale is not None:
            torch.mul(before[d].copy_(a), scale[d], out=h_d)
        act(a if scale is None else h_d, units, out=h_d)
        a.addr_(x_d, weight_d)
    columns = zip(*(t.unbind() for t in (h, x, grad, out_weight, d_weight, d_out)), strict=True)
    for d, (h_d, x_d, grad_d, out_weight_d, d_weight_d, d_out_d) in reversed(
        list(enumerate(columns))
    ):
        torch.mv(d_a.t(), x_d, out=d_weight_d)
        if d_x.shape[0]:
            torch.mv(d_a, weight[d], out=d_x[d])
        torch.mm(grad_d.t(), h_d, out=d_out_d)
        d_h = _act_backward(torch.mm(grad_d, out_weight_d, out=buffer), h_d, units)
        if before is not None and scale is not None:
            torch.sum(before[d].mul_(d_h), (0, 1), out=d_scale[d])
            d_h.mul_(scale[d])
        d_a.add_(d_h)


def _back_at_once(
    d_a: Tensor,
    grad: Tensor,
    start: Tensor,
    x: Tensor,
    weight: Tensor,
    out_weight: Tensor,
    scale: Tensor | None,
    units: str,
    d_x: Tensor,
    d_weight: Tensor,
    d_out: Tensor,
    d_scale: Tensor,
) -> None:
    """Compute the same as `_back_in_place` in a few large operations."""
    before = _activations(start, x, weight)
    h = act(before if scale is None else before * scale[:, None, None], units)
    torch.bmm(grad.mT, h, out=d_out)
    d_h = _act_backward(torch.bmm(grad, out_weight), h, units)
    if scale is not None:
        torch.sum(d_h * before, (1, 2), out=d_scale)
        d_h *= scale[:, None, None]
    # the gradients of the pre-activations before each dimension, and after the last
    sums = torch.cat([d_a[None], d_h.flip(0)]).cumsum(0).flip(0)
    torch.bmm(x[:, None], sums[1:], out=d_weight[:, None])
    if d_x.shape[0]:
        torch.bmm(sums[1:], weight[:, :, None], out=d_x[:, :, None])
    d_a.copy_(sums[0])


@_forward.register_fake
def _(
    x: Tensor, weight: Tensor, _bias: Tensor, out_weight: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    dims, hidden = weight.shape
    blocks = -(-dims // block_length(dims))
    out = x.new_empty(dims, x.shape[0], out_weight.shape[1])
    return out, x.new_empty(blocks, x.shape[0], hidden)


@_backward.register_fake
def _(
    _grad: Tensor,
    starts: Tensor,
    x: Tensor,
    weight: Tensor,
    out_weight: Tensor,
    scale: Tensor | None,
    _: str,
    *,
    by_x: bool,
) -> tuple[Tensor, ...]:
    like = (weight, starts[0], out_weight, x.new_empty(0) if scale is None else scale)
    return (x.new_empty(x.shape[0], x.shape[1] * by_x), *(torch.empty_like(t) for t in like))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, out_weight, _, scale, ctx.units = inputs
    ctx.shared_bias = bias.dim() == 1
    ctx.save_for_backward(output[1], x, weight, out_weight, *(() if scale is None else (scale,)))
    ctx.mark_non_differentiable(output[1])


def _differentiate(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    starts, x, weight, out_weight, *rest = ctx.saved_tensors
    scale = rest[0] if rest else None
    grad = grad.contiguous()
    by_x = bool(ctx.needs_input_grad[0])
    d_x, d_weight, d_bias, d_out, d_scale = _backward(
        grad, starts, x, weight, out_weight, scale, ctx.units, by_x=by_x
    )
    return (
        d_x if by_x else None,
        d_weight,
        d_bias.sum(0) if ctx.shared_bias else d_bias,
        d_out,
        grad.sum(1),
        d_scale if rest else None,
        None,
    )


_forward.register_autograd(_differentiate, setup_context=_setup)
# Sums over many steps keep single precision in mixed-precision runs.
for _device in ("cpu", "cuda"):
    _forward.register_autocast(_device, torch.float32)
