"""Masks compared with handwritten ones, and the convolution that computes only unmasked taps."""

import pytest
import torch
from torch.nn.functional import conv2d

from genzoo.blocks.masked import CausalConv, MaskedLinear, color_groups


@pytest.mark.parametrize(
    ("features", "colors", "groups"),
    [
        (6, 3, [0, 0, 1, 1, 2, 2]),
        (7, 3, [0, 0, 0, 1, 1, 2, 2]),
        (5, 3, [0, 0, 1, 1, 2]),
        (3, 3, [0, 1, 2]),
        (4, 1, [0] * 4),
    ],
)
def test_groups_of_colors(features, colors, groups):
    assert color_groups(features, colors).tolist() == groups


def test_a_masked_map_depends_on_groups_up_to_its_own():
    layer = MaskedLinear(torch.tensor([0, 1, 2]), torch.tensor([0, 2, 1]))
    assert layer.mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0]]
    x = torch.randn(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[:, 0].sum(), x)
    assert (gradient[:, 1:] == 0).all()
    torch.testing.assert_close(layer.fixed()(x), layer(x))


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("strict", [True, False])
def test_the_convolution_equals_a_square_one_with_a_mask(kernel, strict):
    """The layer equals a full square kernel that is set to zero after its center, by hand."""
    groups = torch.tensor([0, 1, 2])
    layer = CausalConv(groups, groups, kernel, strict=strict).double()
    half = kernel // 2
    square = torch.zeros(3, 3, kernel, kernel, dtype=torch.float64)
    square[:, :, : half + 1] = layer.weight.detach()
    square[:, :, half, half + 1 :] = 0
    for out in range(3):
        for source in range(3):
            if source > out or (strict and source == out):
                square[out, source, half, half] = 0
    x = torch.randn(2, 3, 5, 9, dtype=torch.float64)
    expected = conv2d(x, square, layer.bias, padding=half)
    torch.testing.assert_close(layer(x), expected)
    seen = layer.taps(5, 9)
    assert len(seen) == 2 * half * (half + 1) + 1
    pixels = torch.cat([x.flatten(2).permute(2, 0, 1), torch.zeros(1, 2, 3)])
    at = layer.fixed()(pixels.index_select(0, seen.flatten()).unflatten(0, seen.shape))
    torch.testing.assert_close(at, expected.flatten(2).permute(2, 0, 1))


def test_half_converts_a_masked_convolution_to_half_precision():
    assert (
        CausalConv(torch.tensor([0]), torch.tensor([0]), 3, strict=True).half().weight.dtype
        == torch.float16
    )
