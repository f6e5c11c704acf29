"""The networks without training, against a transcription in NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from genzoo.errors import SettingError
from genzoo.metrics import Pixels, RandomConv


def convolved(x, weights):
    """Return a convolution of stride 2 and padding 1, without bias, `(C, H, W)` -> `(D, h, w)`."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return np.stack(
        [sum(map(lambda a, b: correlate2d(a, b, "valid"), padded, w))[::2, ::2] for w in weights]
    )


def test_random_convolutions_equal_their_definition():
    """The weights are N(0, 2 / inputs), from one generator with seed 0, in order."""
    x = np.random.default_rng(0).random((3, 16, 16), dtype=np.float32)
    generator = torch.Generator().manual_seed(0)

    def weights(*shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return torch.randn(shape, generator=generator).numpy() * scale

    y = 2 * x - 1
    for channels, width in ((3, 16), (16, 32)):
        y = np.maximum(convolved(y, weights(width, channels, 3, 3)), 0)
    assert y.shape == (32, 4, 4)
    expected = weights(64, 32 * 16) @ y.ravel()
    features = RandomConv((3, 16, 16))(torch.from_numpy(x)[None])[0]
    np.testing.assert_allclose(features.numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 50), (2, 5, 5), (3, 64, 48), (3, 200, 200)])
def test_random_convolutions_read_images_of_any_size(shape):
    network = RandomConv(shape)
    one, other = torch.rand(2, 2, *shape)
    features = network(one)
    assert features.shape == (2, 64)
    assert features.isfinite().all()
    assert not torch.allclose(features, network(other))


def test_other_settings_have_another_version():
    shape = (1, 8, 8)
    networks = [
        RandomConv(shape), RandomConv(shape, seed=1), RandomConv(shape, dim=32),
    ]  # fmt: skip
    assert [network.version for network in networks] == [
        "random-conv-v1",
        "random-conv-v1 (dim 64, seed 1)",
        "random-conv-v1 (dim 32, seed 0)",
    ]
    x = torch.rand(2, *shape)
    assert not torch.allclose(networks[0](x), networks[1](x))


def test_vectors_are_refused_by_name():
    with pytest.raises(SettingError, match=r"not examples of shape \(5,\); use .pixels."):
        RandomConv((5,))


def test_pixels_are_flattened_examples():
    x = torch.rand(4, 3, 2, 5)
    network = Pixels((3, 2, 5))
    assert network.dim == 30
    assert torch.equal(network(x), x.view(4, 30))
