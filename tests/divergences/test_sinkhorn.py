"""The Sinkhorn divergence against exact transport, its limits, and a solver in NumPy."""

import builtins

import numpy as np
import ot
import pytest
import torch
from scipy.special import logsumexp

from genzoo.divergences import Sinkhorn
from genzoo.errors import GenzooError, SettingError
from genzoo.registry.build import build


def regularized(x, y, epsilon):
    """Return the dual value of the regularized transport cost."""
    cost = ((x[:, None] - y[None]) ** 2).sum(2)
    log_a, log_b = (np.full(len(t), -np.log(len(t))) for t in (x, y))
    f = g = np.zeros(1)
    for _ in range(500):
        f = -epsilon * logsumexp((g - cost) / epsilon + log_b, axis=1)
        g = -epsilon * logsumexp((f[:, None] - cost) / epsilon + log_a[:, None], axis=0)
    return f.mean() + g.mean()


@pytest.mark.parametrize("epsilon", [0.3, 2.0])
@pytest.mark.parametrize("dim", [1, 3])
def test_equals_the_dual_by_numpy(dim, epsilon):
    torch.manual_seed(0)
    x, y = torch.randn(20, dim).double(), 1 + 2 * torch.randn(30, dim).double()
    a, b = x.numpy(), y.numpy()
    cross = regularized(a, b, epsilon)
    expected = cross - (regularized(a, a, epsilon) + regularized(b, b, epsilon)) / 2
    assert Sinkhorn(epsilon)(x, y).item() == pytest.approx(expected, rel=1e-5)


def test_a_small_epsilon_gives_the_exact_distance():
    torch.manual_seed(0)
    x, y = torch.randn(40, 2).double(), 1 + torch.randn(40, 2).double()
    exact = ot.emd2([], [], ot.dist(x.numpy(), y.numpy()))
    assert Sinkhorn(0.02)(x, y).item() == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(("dim", "scale", "epsilon"), [(64, 1, 0.1), (2, 10, 2.0), (2, 5, 0.1)])
def test_costs_that_are_large_next_to_epsilon_do_not_underflow(dim, scale, epsilon):
    """exp(-cost / epsilon) is 0 in float64 for most pairs."""
    torch.manual_seed(0)
    x, y = (scale * torch.randn(40, dim).double() for _ in range(2))
    y += scale
    cost = ot.dist(x.numpy(), y.numpy())
    assert cost.max() / epsilon > 100
    exact = ot.emd2([], [], cost)
    value = Sinkhorn(epsilon)(x, y).item()
    assert value == pytest.approx(exact, rel=0.03)


def test_a_plan_that_has_not_converged_is_reported(monkeypatch):
    monkeypatch.setattr("genzoo.divergences.sinkhorn._ITERATIONS", 2)
    torch.manual_seed(0)
    x, y = 5 * torch.randn(40, 2), 5 * torch.randn(40, 2)
    with pytest.warns(UserWarning, match=r"epsilon=0\.1\).*2 iterations: .*% of .*raise epsilon"):
        Sinkhorn()(x, y)


def test_a_large_epsilon_gives_the_distance_of_the_means():
    x, y = torch.randn(40, 2).double(), 1 + 3 * torch.randn(30, 2).double()
    expected = (x.mean(0) - y.mean(0)).square().sum().item()
    assert Sinkhorn(1e5)(x, y).item() == pytest.approx(expected, rel=1e-2)


def test_equal_samples_have_no_divergence_and_a_shift_has_its_square():
    x = torch.randn(25, 3).double()
    shift = torch.tensor([1.0, 2.0, 2.0])
    for epsilon in (0.5, 10.0):
        assert Sinkhorn(epsilon)(x, x.flip(0)).item() == pytest.approx(0, abs=1e-8)
        assert Sinkhorn(epsilon)(x, x + shift).item() == pytest.approx(9, rel=1e-6)


def test_gradients_in_both_samples_are_correct():
    torch.manual_seed(0)
    x, y = (torch.randn(6, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(Sinkhorn(1.0), (x, y), atol=1e-5)


def test_a_prior_draws_as_many_samples_as_there_are_codes():
    prior = build("normal", "priors", dim=2)
    near, far = (Sinkhorn()(torch.randn(60, 2) + shift, prior) for shift in (0, 5))
    assert near < 2 < 30 < far


def test_bad_arguments_are_refused():
    with pytest.raises(SettingError, match=r"\(4, 2\) and \(4, 3\)"):
        Sinkhorn()(torch.rand(4, 2), torch.rand(4, 3))
    learned = build({"name": "mog", "components": 3, "learn": True}, "priors", dim=2)
    with pytest.raises(SettingError, match="Sinkhorn gives the weights of Mix"):
        Sinkhorn()(torch.rand(4, 2), learned)
    assert not Sinkhorn()(torch.full((3, 1), torch.nan), torch.rand(3, 1)).isfinite()


def test_a_missing_package_is_named(monkeypatch):
    original = builtins.__import__

    def refuse(name, *arguments, **settings):
        if name == "ot":
            raise ImportError(name)
        return original(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(GenzooError, match=r"pip install 'genzoo\[transport\]'"):
        Sinkhorn()(torch.rand(3, 1), torch.rand(3, 1))
