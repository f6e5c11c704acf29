import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import geometric_slerp
from torch import nn

import genzoo
from genzoo.errors import SettingError
from genzoo.models.latents import interpolate, latent_arithmetic, slerp
from genzoo.priors.mixture import MixtureOfGaussians
from genzoo.priors.simple import Normal, Sphere, Uniform


class Codes(nn.Module):
    """A model that decodes a code to twice its value, so that outputs show the codes."""

    def __init__(self, prior=None, dim=None):
        super().__init__()
        if prior is not None:
            self.prior = prior
        if dim is not None:
            self.latent_dim = dim
        self.factor = nn.Parameter(torch.tensor(2.0))

    def decode(self, z):
        return self.factor * z


def at(radius, angle):
    return torch.tensor([radius * math.cos(angle), radius * math.sin(angle)], dtype=torch.float64)


WEIGHTS = torch.linspace(0, 1, 7, dtype=torch.float64)


@pytest.mark.parametrize(("a", "b"), [(0.3, 2.9), (3.0, 3.5), (-1.0, 1.0), (0.2, 0.2 + 1e-9)])
def test_in_the_plane_angle_and_norm_change_linearly(a, b):
    path = slerp(at(2.0, a), at(5.0, b), WEIGHTS)
    expected = torch.stack([at(2 + 3 * w, a + w * (b - a)) for w in WEIGHTS.tolist()])
    torch.testing.assert_close(path, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dim", [2, 3, 100])
def test_on_the_unit_sphere_slerp_equals_scipy(dim):
    start, end = nn.functional.normalize(torch.randn(2, dim).double())
    expected = geometric_slerp(start.numpy(), end.numpy(), WEIGHTS.numpy())
    np.testing.assert_allclose(slerp(start, end, WEIGHTS), expected, rtol=0, atol=1e-14)


def test_the_end_points_are_exact_and_rows_are_independent():
    start, end = torch.randn(50, 16), 3 * torch.randn(50, 16)
    assert torch.equal(slerp(start, end, 0.0), start)
    assert torch.equal(slerp(start, end, 1.0), end)
    weight = torch.rand(50)
    alone = torch.stack([slerp(a, b, float(w)) for a, b, w in zip(start, end, weight, strict=True)])
    torch.testing.assert_close(slerp(start, end, weight), alone)


@pytest.mark.parametrize("angle", [1e-1, 1e-3, 1e-5, 1e-7])
def test_small_angles_keep_single_precision(angle):
    start = torch.randn(64)
    side = torch.randn(64)
    side -= (side @ start) / (start @ start) * start
    end = start + angle * side * start.norm() / side.norm()
    a, b = start.double().numpy(), end.double().numpy()
    norms = np.interp(WEIGHTS, [0, 1], [np.linalg.norm(a), np.linalg.norm(b)])[:, None]
    expected = norms * geometric_slerp(
        a / np.linalg.norm(a), b / np.linalg.norm(b), WEIGHTS.numpy(), tol=1e-12
    )
    np.testing.assert_allclose(slerp(start, end, WEIGHTS.float()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1.0, 2.5, 0.0, -1.0, -0.4])
def test_without_a_unique_great_circle_the_path_is_linear(factor, dtype):
    start = torch.randn(5, 8, dtype=dtype)
    linear = torch.stack([(1 - w + w * factor) * start for w in WEIGHTS.tolist()])
    for a, b, expected in (
        (start, factor * start, linear),
        (factor * start, start, linear.flip(0)),
    ):
        path = torch.stack([slerp(a, b, w) for w in WEIGHTS.tolist()])
        torch.testing.assert_close(
            path, expected, rtol=0, atol=3e-6 if dtype == torch.float32 else 1e-14
        )


def test_the_path_stays_on_the_shell_of_the_prior():
    start, end = torch.randn(2, 20, 400).double()
    for prior in (Normal(400, 0.5), Sphere(400)):
        middle = interpolate(Codes(prior), start, end, steps=3)[:, 1] / 2
        torch.testing.assert_close(middle.norm(dim=1), (start.norm(dim=1) + end.norm(dim=1)) / 2)
    for model in (Codes(Uniform(400)), Codes(MixtureOfGaussians(400)), Codes()):
        torch.testing.assert_close(interpolate(model, start, end, steps=3)[:, 1], start + end)


def test_the_path_can_be_chosen():
    start, end = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    root = math.sqrt(0.5)
    linear = interpolate(Codes(Normal(2)), start, end, steps=3, path="linear")
    turned = interpolate(Codes(), start, end, steps=3, path="slerp")
    torch.testing.assert_close(linear, torch.tensor([[[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]]))
    torch.testing.assert_close(
        turned, torch.tensor([[[2.0, 0.0], [2 * root, 2 * root], [0.0, 2.0]]])
    )


def test_arithmetic_adds_means():
    a, b, c = np.random.default_rng(0).normal(size=(3, 4, 6))
    b = b[:2]  # the terms have different numbers of examples
    result = latent_arithmetic(
        Codes(), *map(torch.from_numpy, (a, b, c)), neighbors=5000, radius=0.1
    )
    assert result.shape == (5001, 6)
    np.testing.assert_allclose(
        result[0].detach(), 2 * (a.mean(0) - b.mean(0) + c.mean(0)), rtol=0, atol=1e-14
    )
    offsets = (result[1:] - result[0]) / 2
    assert stats.kstest(offsets.flatten(), stats.uniform(-0.1, 0.2).cdf).pvalue > 0.01
    assert np.abs(np.corrcoef(offsets.T) - np.eye(6)).max() < 0.06


def test_arithmetic_accepts_no_neighbors_and_radius_zero():
    a, b, c = torch.randn(3, 2, 5)
    assert latent_arithmetic(Codes(), a, b, c, neighbors=0).shape == (1, 5)
    result = latent_arithmetic(Codes(), a, b, c, radius=0.0)
    assert torch.equal(result, result[:1].expand(9, 5))


def test_the_mode_of_the_model_is_unchanged():
    # batch norm in train mode would make the output depend on the batch
    networks = {"encoder": "mlp", "decoder": "mlp"}
    model = genzoo.load("vae", latent_dim=3, shape=(1, 8, 8), **networks).train()
    start, end = model.prior.sample(4).chunk(2)
    walks = genzoo.interpolate(model, start, end, steps=4)
    sums = genzoo.latent_arithmetic(model, start, end, end)
    assert walks.shape == (2, 4, 1, 8, 8)
    assert sums.shape == (9, 1, 8, 8)
    assert not walks.requires_grad
    assert not sums.requires_grad
    assert model.training
    with torch.no_grad():
        torch.testing.assert_close(walks[:, 0], model.decode(start))
        torch.testing.assert_close(walks[:, -1], model.decode(end))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: interpolate(nn.Linear(2, 2), z, z), r"Linear has no decode\(z\)"),
        (lambda z: latent_arithmetic(nn.Linear(2, 2), z, z, z), r"Linear has no decode\(z\)"),
        (lambda z: interpolate(Codes(), z, z[:2]), "start holds 3 codes and end 2"),
        (
            lambda z: interpolate(Codes(), z, z[:, :1]),
            r"one dimension; these are start \(3, 2\), end \(3, 1\)",
        ),
        (
            lambda z: interpolate(Codes(dim=5), z, z),
            r"the 5 coordinates that Codes decodes; these are start \(3, 2\), end \(3, 2\)",
        ),
        (lambda z: interpolate(Codes(), z[0], z[1]), r"codes are \(k, dim\) .* start \(2,\)"),
        (lambda z: interpolate(Codes(), z, z, steps=1), "steps = 1"),
        (
            lambda z: interpolate(Codes(), z, z, path="slurp"),
            "No path named 'slurp'. Did you mean 'slerp'",
        ),
        (
            lambda z: latent_arithmetic(Codes(), z, z[:0], z),
            r"k >= 1; these are a \(3, 2\), b \(0, 2\), c \(3, 2\)",
        ),
        (lambda z: latent_arithmetic(Codes(), z, z, z[:, :1]), r"one dimension; .* c \(3, 1\)"),
        (lambda z: latent_arithmetic(Codes(), z, z, z, neighbors=-1), "neighbors = -1"),
        (lambda z: latent_arithmetic(Codes(), z, z, z, radius=math.nan), "radius = nan"),
    ],
)
def test_errors_name_the_argument_and_the_value(call, message):
    with pytest.raises(SettingError, match=message):
        call(torch.randn(3, 2))
