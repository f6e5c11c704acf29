"""The power at high spatial frequencies, against NumPy and closed forms."""

import numpy as np
import pytest
import torch

import genzoo
from genzoo.errors import DataError
from genzoo.metrics import high_frequency_power
from tests.metrics.stand_in import measurements, replay


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 12), (2, 65, 47), (4, 4, 5)])
def test_is_the_sum_of_high_frequencies_of_numpys_transform(shape):
    images = np.random.default_rng(0).uniform(size=(3, *shape))
    _, height, width = shape
    spectrum = np.abs(np.fft.fft2(images)) ** 2 / (height * width) ** 2
    expected = np.zeros(3)
    for i in range(height):
        for j in range(width):
            u, v = min(i, height - i) / height, min(j, width - j) / width
            if max(u, v) > 0.399:
                expected += spectrum[:, :, i, j].sum(axis=1)
    power = high_frequency_power(torch.from_numpy(images))
    np.testing.assert_allclose(power.numpy(), expected, rtol=1e-5)


def test_stripes_have_all_their_variance_there_and_a_smooth_ramp_almost_none():
    stripes = torch.tensor([0.0, 1.0]).repeat(16, 8)[None, None]
    wave = 0.5 + 0.5 * torch.sin(torch.arange(16) * 2 * torch.pi / 16).repeat(16, 1)[None, None]
    assert high_frequency_power(stripes).item() == pytest.approx(0.25)
    assert high_frequency_power(wave).item() < 1e-10


def test_ratio_of_scaled_images_is_the_square_of_the_scale():
    x = torch.rand(50, 1, 8, 8)
    row = measurements("texture", replay(0.5 * x), x, batch_size=20)["power_ratio"]
    assert row.value == pytest.approx(0.25, rel=1e-5)
    one, other = (high_frequency_power(half).mean().item() for half in (x[::2], x[1::2]))
    assert row.floor == pytest.approx(max(one / other, other / one), rel=1e-5)


def test_a_transposed_convolution_shows_as_a_grid():
    x = torch.rand(64, 1, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    smooth = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    grid = smooth + 0.2 * torch.tensor([0.0, 1.0]).repeat(16)
    assert measurements("texture", replay(grid), smooth)["power_ratio"].value > 2
    blurred = torch.nn.functional.avg_pool2d(smooth, 3, 1, 1)
    assert measurements("texture", replay(blurred), smooth)["power_ratio"].value < 0.5


def test_refuses_what_has_no_texture():
    texture = genzoo.build("texture", "metrics")
    with pytest.raises(DataError, match=r"two held-out images.*1"):
        measurements("texture", replay(torch.rand(1, 1, 8, 8)), torch.rand(1, 1, 8, 8))
    with pytest.raises(DataError, match="no power"):
        measurements("texture", replay(torch.rand(2, 1, 8, 8)), torch.full((2, 1, 8, 8), 0.5))
    vectors = genzoo.load("vae", shape=(5,))
    assert texture.lacking(vectors) == ["images of 4 x 4 pixels or more"]
