"""The LSTM over fronts, compared with a plain loop over pixels and with torch's LSTM cell."""

import pytest
import torch
from torch import Tensor, nn

from genzoo.blocks import recurrent
from genzoo.blocks.recurrent import Fronts, cell, diagonals, neighbor, rows, scan


def plain(x, weight, bias, h0, c0, at: dict[tuple[int, int], int], offsets, carry) -> Tensor:
    """Compute the LSTM pixel by pixel; `at` maps a pixel (r, c) to its index in x."""
    directions, _, batch, hidden = *x.shape[:3], h0.shape[-1]
    h: dict[tuple[int, int], Tensor] = {}
    c: dict[tuple[int, int], Tensor] = {}
    outside = [start[:, None].expand(directions, batch, hidden) for start in (h0, c0)]
    for r, column in sorted(at):
        before = [(r + down, column + right) for down, right in offsets]
        states = torch.cat([h.get(pixel, outside[0]) for pixel in before], -1)
        gates = bias + torch.einsum(
            "dbi,dio->dbo", torch.cat([x[:, at[r, column]], states], -1), weight
        )
        i, f, g, o = gates.chunk(4, -1)
        c[r, column] = f.sigmoid() * c.get(before[carry], outside[1]) + i.sigmoid() * (g / 2).tanh()
        h[r, column] = o.sigmoid() * c[r, column].tanh()
    ordered = [h[pixel] for pixel, _ in sorted(at.items(), key=lambda item: item[1])]
    return torch.stack([*ordered, outside[0]], 1)


CASES = {
    "diagonals": (lambda h, w: diagonals(h, w), lambda r, c: r + c, [(-1, 0), (0, -1)], 1, 2),
    "rows": (lambda h, w: rows(h, w, 3), lambda r, c: r, [(-1, -1), (-1, 0), (-1, 1)], 1, 1),
}


def tensors(
    fronts: Fronts, directions: int, taps: int, hidden: int = 3, batch: int = 2, biases: int = 1
) -> list[Tensor]:
    pixels, inputs, gates = fronts.height * fronts.width, 5, 4 * hidden
    sizes = [
        (pixels, batch, inputs),
        (inputs + taps * hidden, gates),
        (biases, gates),
        (hidden,),
        (hidden,),
    ]
    return [torch.randn(directions, *size, dtype=torch.float64).requires_grad_() for size in sizes]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("biases", [1, 2])
@pytest.mark.parametrize("size", [(4, 6), (6, 3), (1, 5), (5, 1), (1, 1)], ids=str)
def test_the_recursion_equals_the_plain_loop(case, size, biases):
    make, front, offsets, carry, directions = CASES[case]
    fronts = make(*size)
    inputs = tensors(fronts, directions, len(offsets), biases=biases)
    pixels = sorted(
        ((r, c) for r in range(size[0]) for c in range(size[1])),
        key=lambda pixel: (front(*pixel), pixel),
    )
    at = {pixel: index for index, pixel in enumerate(pixels)}
    output, expected = scan(*inputs, fronts), plain(*inputs, at, offsets, carry)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
    towards = torch.randn_like(output)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(output, inputs, towards),
        torch.autograd.grad(expected, inputs, towards),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_finite_differences(case):
    make, _, offsets, _, directions = CASES[case]
    fronts = make(2, 3)
    assert torch.autograd.gradcheck(
        lambda *t: scan(*t, fronts), tensors(fronts, directions, len(offsets), hidden=2, batch=1)
    )


def test_a_cell_equals_that_of_torch_with_the_candidate_doubled():
    hidden, lstm = 5, nn.LSTMCell(3, 5).double()
    x, h, c = torch.randn(4, 3), torch.randn(4, hidden), torch.randn(4, hidden)
    x, h, c = (t.double() for t in (x, h, c))
    # torch's order: i, f, g, o
    z = x @ lstm.weight_ih.T + lstm.bias_ih + h @ lstm.weight_hh.T + lstm.bias_hh
    i, f, g, o = z.detach().chunk(4, -1)
    states = cell(torch.cat([i, f, 2 * g, o], -1), c)
    for actual, expected in zip(states, lstm(x, (h, c)), strict=True):
        torch.testing.assert_close(actual, expected.detach())
    # with so many values, tanh is computed from a sigmoid
    many = [t.repeat(400, 1) for t in (torch.cat([i, f, 2 * g, o], -1), c)]
    for actual, expected in zip(cell(*many), states, strict=True):
        torch.testing.assert_close(actual[-4:], expected)


def test_neighbors_and_fronts_match_hand_written_ones():
    assert neighbor(2, 3, 0, -1).tolist() == [6, 0, 1, 6, 3, 4]
    assert neighbor(2, 3, -1, 1).tolist() == [6, 6, 6, 1, 2, 6]
    fronts = diagonals(2, 3)
    assert fronts.sizes == [1, 2, 2, 1]
    assert fronts.order.tolist() == [0, 1, 3, 2, 4, 5]
    assert sorted(fronts.position.tolist()) == list(range(7))
    assert rows(3, 2, 3).sizes == [2, 2, 2]
    assert repr(fronts) == "Fronts(2 x 3 in 4 fronts)"


def test_custom_operators_pass_the_checks_of_torch():
    fronts = diagonals(2, 3)
    given = tensors(fronts, 2, 2)
    torch.library.opcheck(
        recurrent._forward, (*given, fronts.before, fronts.after, fronts.sizes, fronts.carry)
    )
