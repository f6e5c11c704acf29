"""The custom recursion against the plain loop, for both ways of running a block, and its memory."""

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
    """The equations, one dimension after the other."""
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
    made = [torch.randn(size, dtype=torch.float64).requires_grad_() for size in sizes]
    return made if scaled else [*made[:5], None]


@pytest.fixture(params=["in place", "at once"])
def way(request, monkeypatch):
    """Both block kernels on the CPU: the one that it takes, and the one of accelerators."""
    if request.param == "at once":
        monkeypatch.setattr(nade, "_in_place", nade._at_once)
        monkeypatch.setattr(nade, "_back_in_place", nade._back_at_once)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize(
    ("sizes", "scaled"),
    [((3, 11, 5, 1), False), ((2, 16, 4, 6), True), ((1, 1, 3, 2), True)],
    ids=str,
)
def test_it_equals_the_plain_loop(sizes, scaled, units):
    given = tensors(*sizes, scaled)
    ours, plain = recursion(*given, units), loop(*given, units)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-13)
    towards = torch.randn_like(ours)
    leaves = [each for each in given if each is not None]
    for mine, theirs in zip(
        torch.autograd.grad(ours, leaves, towards),
        torch.autograd.grad(plain, leaves, towards, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(
            mine, torch.zeros_like(mine) if theirs is None else theirs, rtol=0, atol=1e-12
        )


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("units", UNITS)
def test_gradients_are_those_of_finite_differences(units):
    given = tensors(2, 5, 3, 2, scaled=True)
    assert torch.autograd.gradcheck(lambda *t: recursion(*t, units), given)


def test_the_gradient_by_x_is_there():
    """Without it a test of what sees what would pass whatever it tested."""
    given = tensors(2, 6, 3, 1, scaled=False)
    (by_x,) = torch.autograd.grad(recursion(*given, "sigmoid")[:, 4].sum(), given[0])
    assert (by_x[:, :4] != 0).all()
    assert (by_x[:, 4:] == 0).all()


def test_what_is_kept_for_the_gradient_is_a_few_hidden_layers():
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
    assert kept == 10 * batch * hidden  # a layer a block, not one a dimension


@pytest.mark.slow
def test_it_compiles_whole():
    given = tensors(3, 7, 4, 1, scaled=False)
    compiled = torch.compile(
        lambda *t: recursion(*t, "sigmoid").square().sum(), fullgraph=True, backend="aot_eager"
    )
    leaves = [each for each in given if each is not None]
    expected = torch.autograd.grad(loop(*given, "sigmoid").square().sum(), leaves)
    for mine, theirs in zip(torch.autograd.grad(compiled(*given), leaves), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.slow
def test_its_schemas_are_what_torch_expects():
    given = tensors(2, 6, 3, 2, scaled=True)
    torch.library.opcheck(nade._forward, (*given, "sigmoid"))
