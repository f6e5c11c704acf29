"""The variance of the Laplacian, against SciPy."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

import genzoo
from genzoo.metrics import laplacian_variance
from tests.metrics.stand_in import measurements, replay

KERNEL = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 12), (2, 3, 3)])
def test_is_the_variance_of_scipys_convolution(shape):
    images = np.random.default_rng(0).uniform(size=(4, *shape))
    weights = {1: [1.0], 2: [0.5, 0.5], 3: [0.299, 0.587, 0.114]}[shape[0]]
    gray = np.tensordot(images, weights, axes=(1, 0))
    expected = [np.var(convolve2d(image, KERNEL, mode="valid")) for image in gray]
    np.testing.assert_allclose(laplacian_variance(torch.from_numpy(images)), expected, rtol=1e-5)


def test_a_plane_has_none_and_blur_reduces_it():
    plane = torch.linspace(0, 1, 10).repeat(10, 1)[None, None]
    assert laplacian_variance(plane).item() == pytest.approx(0, abs=1e-10)
    x = torch.rand(5, 1, 10, 10)
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert (laplacian_variance(blurred) < 0.2 * laplacian_variance(x)).all()


def test_the_metric_has_the_value_of_real_images_as_its_floor():
    torch.manual_seed(0)
    x = torch.rand(40, 1, 8, 8)
    row = measurements("sharpness", replay(0.5 * x), x, batch_size=15)["laplacian_variance"]
    values = laplacian_variance(x)
    assert row.value == pytest.approx(0.25 * values.mean().item())
    assert row.standard_error == pytest.approx(0.25 * values.std().item() / 40**0.5)
    assert (row.floor, row.n) == (pytest.approx(values.mean().item()), 40)


def test_only_images_have_a_sharpness():
    vectors = genzoo.load("vae", shape=(5,))
    lacking = genzoo.build("sharpness", "metrics").lacking(vectors)
    assert lacking == ["images of 4 x 4 pixels or more"]
