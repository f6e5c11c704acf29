"""The custom recursion against a plain loop, for both block kernels, and its memory."""

import pytest
import torch
from torch import Tensor

from genzoo.blocks import nade
from genzoo.blocks.nade import recursion

UNITS = {"sigmoid": torch.sigmoid, "relu": torch.relu}


def loop(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    scale: Tensor | None,
    units: str,
) -> Tensor:
    """Compute the equations, one dimension after the other."""
    a, out = bias.expand(len(x), -1), []
    for d in range(len(weight)):
        h = UNITS[units](a if scale is None else a * scale[d])
        out.append(h @ out_weight[d].T + out_bias[d])
        a = a + x[:, d, None] * weight[d]
    return torch.stack(out, 1)


def tensors(batch: int, dims: int, hidden: int, outputs: int, scaled: bool) -> list[Tensor | None]:
    sizes = [
        (batch, dims),
        (dims, hidden),
        (hidden,),
        (dims, outputs, hidden),
        (dims, outputs),
        (dims,),
    ]
    values = [torch.randn(size, dtype=torch.float64).requires_grad_() for size in sizes]
    return values if scaled else [*values[:5], None]


@pytest.fixture(params=["in place", "at once"])
def way(request, monkeypatch):
    """Run a test with both block kernels: that of the CPU and that of accelerators."""
    if request.param == "at once":
        monkeypatch.setattr(nade, "_in_place", nade._at_once)
        monkeypatch.setattr(nade, "_back_in_place", nade._back_at_once)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("bias_of_each", [False, True])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize(
    ("sizes", "scaled"),
    [((3, 11, 5, 1), False), ((2, 16, 4, 6), True), ((1, 1, 3, 2), True)],
    ids=str,
)
def test_the_recursion_equals_the_plain_loop(sizes, scaled, units, bias_of_each):
    inputs = tensors(*sizes, scaled)
    if bias_of_each:
        inputs[2] = torch.randn(sizes[0], sizes[2], dtype=torch.float64).requires_grad_()
    output, expected = recursion(*inputs, units), loop(*inputs, units)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
    towards = torch.randn_like(output)
    leaves = [tensor for tensor in inputs if tensor is not None]
    for gradient, expected_gradient in zip(
        torch.autograd.grad(output, leaves, towards),
        torch.autograd.grad(expected, leaves, towards, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(
            gradient,
            torch.zeros_like(gradient) if expected_gradient is None else expected_gradient,
            rtol=0,
            atol=1e-12,
        )


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("units", UNITS)
def test_gradients_equal_finite_differences(units):
    given = tensors(2, 5, 3, 2, scaled=True)
    assert torch.autograd.gradcheck(lambda *t: recursion(*t, units), given)


def test_the_gradient_with_respect_to_x_is_not_zero():
    """If it were zero, tests of dependencies between inputs and outputs would always pass."""
    given = tensors(2, 6, 3, 1, scaled=False)
    (by_x,) = torch.autograd.grad(recursion(*given, "sigmoid")[:, 4].sum(), given[0])
    assert (by_x[:, :4] != 0).all()
    assert (by_x[:, 4:] == 0).all()


def test_backward_stores_only_a_few_hidden_layers():
    batch, dims, hidden = 8, 100, 64
    given = [
        each if each is None else each.detach().float().requires_grad_()
        for each in tensors(batch, dims, hidden, 1, False)
    ]
    kept = 0

    def pack(t: Tensor) -> Tensor:
        nonlocal kept
        kept += t.numel() if t.shape[-2:] == (batch, hidden) else 0
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        recursion(*given, "sigmoid")
    assert kept == 10 * batch * hidden  # one layer per block, not one per dimension


@pytest.mark.slow
def test_the_recursion_compiles_without_graph_breaks():
    given = tensors(3, 7, 4, 1, scaled=False)
    compiled = torch.compile(
        lambda *t: recursion(*t, "sigmoid").square().sum(), fullgraph=True, backend="aot_eager"
    )
    leaves = [each for each in given if each is not None]
    expected = torch.autograd.grad(loop(*given, "sigmoid").square().sum(), leaves)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(compiled(*given), leaves), expected, strict=True
    ):
        torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.slow
def test_custom_operators_pass_the_checks_of_torch():
    given = tensors(2, 6, 3, 2, scaled=True)
    torch.library.opcheck(nade._forward, (*given, "sigmoid"))
