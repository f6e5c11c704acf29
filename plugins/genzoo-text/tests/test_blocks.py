"""Networks compared with NumPy."""

import math

import numpy as np
import pytest
import torch
from genzoo_text.blocks import CharCritic, CharDecoder, CharResidual
from torch import nn

from genzoo.errors import SettingError


def convolved(x, weight, bias):
    """Convolve `(C, L)` with `(O, C, K)` and zero padding, position by position."""
    reach, length = weight.shape[2] // 2, x.shape[1]
    out = np.tile(bias[:, None], (1, length))
    for place in range(length):
        for k in range(weight.shape[2]):
            at = place + k - reach
            if 0 <= at < length:
                out[:, place] += weight[:, :, k] @ x[:, at]
    return out


def residual(block, x):
    one, two = (layer for layer in block.net if isinstance(layer, nn.Conv1d))
    first = convolved(np.maximum(x, 0), *(t.detach().numpy() for t in (one.weight, one.bias)))
    return x + 0.3 * convolved(
        np.maximum(first, 0), *(t.detach().numpy() for t in (two.weight, two.bias))
    )


def random(module):
    """Return the module in double precision with random biases."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn_like(p) / 2)
    return module.double()


def test_a_residual_block_equals_numpy():
    block, x = random(CharResidual(width=3, scale=0.3)), torch.randn(2, 3, 7, dtype=torch.float64)
    expected = np.stack([residual(block, row.numpy()) for row in x])
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-10)


def test_a_block_with_known_weights_adds_three_tenths():
    """With identity convolutions, 1 becomes 1.3; -1 stays, because the first ReLU removes it."""
    block = CharResidual(width=1, scale=0.3)
    for layer in (block.net[1], block.net[3]):
        nn.init.dirac_(layer.weight)
    torch.testing.assert_close(
        block(torch.tensor([[[1.0, -1.0, 2.0]]])), torch.tensor([[[1.3, -1.0, 2.6]]])
    )


def test_the_networks_equal_numpy():
    """A linear layer, five blocks, and a linear layer per position; the critic is the reverse."""
    decoder, critic = (
        random(CharDecoder(dim=4, shape=(6, 5), width=3)),
        random(CharCritic(shape=(6, 5), width=3)),
    )
    z, x = torch.randn(4, dtype=torch.float64), torch.rand(6, 5, dtype=torch.float64)
    arrays = {name: p.detach().numpy() for name, p in decoder.named_parameters()}
    h = (arrays["net.0.weight"] @ z.numpy() + arrays["net.0.bias"]).reshape(3, 6)
    blocks = [layer for layer in decoder.net if isinstance(layer, CharResidual)]
    assert len(blocks) == 5
    for block in blocks:
        h = residual(block, h)
    expected = (arrays["net.7.weight"][:, :, 0] @ h + arrays["net.7.bias"][:, None]).T
    np.testing.assert_allclose(decoder(z[None])[0].detach().numpy(), expected, rtol=1e-9, atol=1e-9)

    arrays = {name: p.detach().numpy() for name, p in critic.named_parameters()}
    h = arrays["net.0.weight"][:, :, 0] @ x.numpy().T + arrays["net.0.bias"][:, None]
    for block in (layer for layer in critic.net if isinstance(layer, CharResidual)):
        h = residual(block, h)
    expected = arrays["net.7.weight"][0] @ h.reshape(-1) + arrays["net.7.bias"][0]
    assert critic(x[None])[0].item() == pytest.approx(expected)


def test_initial_weights_have_the_variances_of_the_authors_code():
    """Variances 4 / (in + out) for convolutions, 2 / (in + out) for linear layers; zero biases."""
    decoder = CharDecoder(dim=128, shape=(16, 40), width=64, depth=1)
    first, convolution = decoder.net[0], decoder.net[2].net[1]
    for layer, variance in ((first, 2 / (128 + 64 * 16)), (convolution, 4 / (2 * 64 * 5))):
        assert layer.weight.var().item() == pytest.approx(variance, rel=0.03)
        assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(3 * variance), rel=0.01)
        assert not layer.bias.any()


def test_images_are_refused():
    with pytest.raises(SettingError, match=r"shape \(length, symbols\), not for shape \(1, 8, 8\)"):
        CharCritic(shape=(1, 8, 8))
