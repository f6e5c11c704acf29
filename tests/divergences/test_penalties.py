"""Penalties against their formulas, closed forms of simple critics, and numerical integrals."""

import math
import shutil

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from genzoo.blocks.conv import ConvCritic
from genzoo.blocks.mlp import MLPCritic
from genzoo.divergences.penalties import (
    DRAGAN,
    R1,
    GradientPenalty,
    gradient_norms,
    gradient_penalty,
)
from genzoo.errors import SettingError

IMAGES = (1, 8, 8)
CRITICS = {
    "mlp": lambda: MLPCritic(IMAGES, (12, 6), "tanh"),
    "mlp-layer": lambda: MLPCritic(IMAGES, (12, 6), "silu", "layer"),
    "conv": lambda: ConvCritic(IMAGES, (3, 4), "silu"),
    "conv-layer": lambda: ConvCritic(IMAGES, (3, 4), "silu", "layer"),
    "conv-instance": lambda: ConvCritic(IMAGES, (3, 4), "silu", "instance"),
}


def by_example(critic, x):
    """Return the slope at each point, from `torch.autograd.grad` on one example at a time."""
    slopes = []
    for row in x:
        point = row[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(point).sum(), point, create_graph=True)
        slopes.append(gradient.square().sum().sqrt())
    return torch.stack(slopes)


@pytest.fixture(params=CRITICS)
def critic(request):
    return CRITICS[request.param]().double()


@pytest.fixture
def x():
    return torch.rand(64, *IMAGES, dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 4, 16, 64])
def test_penalties_equal_their_formula_per_example(critic, x, n):
    # if real and generated examples are equal, so are the points between them
    x = x[:n]
    for sides, cost in (
        ("two", lambda s: (s - 0.1) ** 2),
        ("one", lambda s: (s - 0.1).clamp(min=0) ** 2),
    ):
        expected = cost(by_example(critic, x)).mean()
        value = gradient_penalty(critic, x, x, sides, target=0.1)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-14)
        expected_gradients = torch.autograd.grad(
            expected, critic.parameters(), allow_unused=True, materialize_grads=True
        )
        gradients = torch.autograd.grad(
            value, critic.parameters(), allow_unused=True, materialize_grads=True
        )
        torch.testing.assert_close(gradients, expected_gradients, rtol=1e-8, atol=1e-12)


def test_slopes_equal_finite_differences(critic, x):
    x, step = x[:3], 1e-6
    unit = torch.eye(64, dtype=torch.float64).view(64, *IMAGES)
    with torch.no_grad():
        slopes = [
            np.linalg.norm(
                (critic(row + step * unit) - critic(row - step * unit)).numpy() / (2 * step)
            )
            for row in x
        ]
    assert gradient_norms(critic, x).tolist() == pytest.approx(slopes, rel=1e-6)


@pytest.mark.parametrize(
    "penalty", [GradientPenalty(), GradientPenalty("one", 0.02), R1()], ids=repr
)
def test_repeating_the_examples_does_not_change_a_penalty(critic, x, penalty):
    x = x[:4]
    value = penalty(critic, x, x).item()
    assert value > 0
    for times in (2, 4, 16):
        again = x.repeat(times, 1, 1, 1)
        assert penalty(critic, again, again).item() == pytest.approx(value, rel=1e-12)


def test_a_linear_critic_of_unit_slope_has_no_penalty():
    rotation = torch.tensor([0.6, 0.8])
    for n in (1, 4, 16, 64):
        real, fake = torch.randn(n, 2), torch.randn(n, 2)
        assert gradient_penalty(lambda x: x @ rotation + 3, real, fake).item() == pytest.approx(
            0, abs=1e-12
        )
        assert gradient_penalty(lambda x: x[:, 1], real, fake).item() == 0
        assert gradient_penalty(lambda x: 3 * x[:, 1], real, fake).item() == 4
        assert gradient_penalty(lambda x: 0.25 * x[:, 1], real, fake).item() == 0.75**2
        assert gradient_penalty(lambda x: 0.25 * x[:, 1], real, fake, "one").item() == 0


def test_the_penalty_of_a_quadratic_critic_is_an_integral():
    # D(x) = x'Ax / 2 has the slope |Ax|, and x is uniform on the segment
    a = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    real, fake = torch.tensor([1.0, -1.0]).double(), torch.tensor([0.2, 2.0]).double()

    def integrand(t, sides):
        excess = np.linalg.norm(a.numpy() @ (t * real + (1 - t) * fake).numpy()) - 1
        return (excess if sides == "two" else max(excess, 0)) ** 2

    n = 100_000
    for sides in ("two", "one"):
        value = gradient_penalty(
            lambda x: ((x @ a) * x).sum(1) / 2, real.expand(n, 2), fake.expand(n, 2), sides
        )
        assert value.item() == pytest.approx(quad(integrand, 0, 1, (sides,))[0], rel=0.01)


def test_each_example_has_its_own_interpolation_weight():
    # D(x) = x^2 / 2 between 0 and 1: the penalty of an example is (1 - e)^2, with variance
    # 1/5 - 1/9
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
    values = torch.stack(
        [gradient_penalty(lambda x: x.square().sum(1) / 2, ones, zeros) for _ in range(1000)]
    )
    assert values.mean().item() == pytest.approx(1 / 3, abs=0.005)
    assert values.var().item() == pytest.approx((1 / 5 - 1 / 9) / 64, rel=0.2)


def test_all_coordinates_of_an_example_share_the_weight():
    # the critic is flat along the diagonal and steep away from it
    value = gradient_penalty(
        lambda x: 1e6 * (x[:, 0] - x[:, 1]).square(), torch.ones(64, 2), torch.zeros(64, 2), "one"
    )
    assert value.item() == 0


def test_r1_of_linear_and_quadratic_critics():
    x = torch.randn(16, 3, dtype=torch.float64)
    a = torch.randn(3, 3, dtype=torch.float64)
    a = a + a.T
    slopes = np.linalg.norm(x.numpy() @ a.numpy(), axis=1)
    nothing = torch.full_like(x, math.nan)  # generated examples are not used
    assert R1()(lambda x: ((x @ a) * x).sum(1) / 2, x, nothing).item() == pytest.approx(
        (slopes**2).mean() / 2
    )
    assert R1()(lambda x: x @ a[0], x, nothing).item() == pytest.approx(
        (a[0] ** 2).sum().item() / 2
    )


def test_dragan_of_linear_and_quadratic_critics():
    n, scale = 200_000, 0.7
    x = 3 + 2 * torch.randn(n, 1, dtype=torch.float64)
    nothing = torch.full_like(x, math.nan)
    assert DRAGAN(scale, 2.0)(lambda x: 3 * x[:, 0], x, nothing).item() == pytest.approx(1)
    # D(x) = x^2 / 2: the slope is |x + s a u|, with a and u uniform: E a u = 1/4, E (a u)^2 = 1/9
    shift = scale * x.std(correction=0).item()
    mean, square = x.mean().item(), x.square().mean().item()
    everywhere = 10.0  # shifted so far, a slope is positive and the norm is a polynomial
    slope = mean + everywhere + shift / 4
    second = (
        square
        + 2 * everywhere * mean
        + everywhere**2
        + 2 * (mean + everywhere) * shift / 4
        + shift**2 / 9
    )
    value = DRAGAN(scale, 2.0)(lambda x: (x[:, 0] + everywhere).square() / 2, x, nothing).item()
    assert value == pytest.approx(second - 4 * slope + 4, rel=0.003)


def test_dragan_uses_independent_noise_per_coordinate():
    # D(x) = |x|^2 / 2 + 100 (x1 + x2): all slopes are positive, and
    # |slope|^2 = sum_j (x_j + 100 + r a u_j)^2 for one reach r
    n, scale = 200_000, 0.5
    x = torch.randn(n, 2, dtype=torch.float64) * torch.tensor([1.0, 10.0], dtype=torch.float64)
    reach = scale * x.std(correction=0).item()  # over all numbers, not per coordinate

    def critic(x):
        return x.square().sum(1) / 2 + 100 * x.sum(1)

    value = DRAGAN(scale, 1e-9)(critic, x, x).item()  # E |slope|^2
    expected = sum(
        (x[:, j] + 100).square().mean().item()
        + 2 * (x[:, j].mean().item() + 100) * reach / 4
        + reach**2 / 9
        for j in range(2)
    )
    assert value == pytest.approx(expected, rel=2e-4)
    # the slope of x1 x2 at the origin is (x2, x1): E |slope|^2 = r^2 (1/9 + 1/9);
    # that of (x1 - x2)^2 / 2 needs independent noise: 2 E (a r (u1 - u2))^2 = 2 r^2 / 3 * 1/6
    spread = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64).repeat(n // 2, 1)
    value = DRAGAN(scale, 1e-9)(lambda x: (x[:, 0] - x[:, 1]).square() / 2, spread, spread).item()
    assert value == pytest.approx(2 * scale**2 / 18, rel=0.02)


def test_a_flat_critic_has_a_finite_gradient():
    critic = MLPCritic((3,), (4,))
    for parameter in critic.parameters():
        nn.init.zeros_(parameter)
    value = GradientPenalty()(critic, torch.randn(5, 3), torch.randn(5, 3))
    assert value.item() == 1
    value.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())


def test_batch_norm_is_refused_by_name_only_in_train_mode(x):
    critic = ConvCritic(IMAGES, (3, 4), "silu", "batch").double()
    name = next(
        name for name, module in critic.named_modules() if isinstance(module, nn.BatchNorm2d)
    )
    for penalty in (GradientPenalty(), DRAGAN(), R1()):
        with pytest.raises(
            SettingError,
            match=rf'{name} \(BatchNorm2d\) is a batch norm in training mode.*take norm = "layer"',
        ):
            penalty(critic.train(), x, x)
    critic(x)  # changes the running statistics
    critic.eval()
    value = gradient_penalty(critic, x, x)
    torch.testing.assert_close(
        value, (by_example(critic, x) - 1).square().mean(), rtol=1e-10, atol=0
    )


@pytest.mark.parametrize("kind", [ConvCritic, MLPCritic])
def test_a_penalty_does_not_change_spectral_norm_buffers(kind, x):
    critic = kind(IMAGES, (3, 4), "silu", "spectral").double()
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    value = GradientPenalty()(critic, x, x)
    value.backward()
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    weights = [p for name, p in critic.named_parameters() if name.endswith("original")]
    assert weights
    assert all(p.grad.abs().max() > 0 for p in weights)
    critic.eval()  # no more power iterations, so that the weights stay the same for each example
    torch.testing.assert_close(
        gradient_penalty(critic, x, x),
        (by_example(critic, x) - 1).square().mean(),
        rtol=1e-10,
        atol=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "name"),
    [("aot_eager", "mlp-layer"), ("aot_eager", "conv-instance"), ("inductor", "mlp")],
)
def test_compiled_penalties_equal_eager_ones(backend, name):
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")
    critic, (real, fake) = CRITICS[name]().double(), torch.rand(2, 8, *IMAGES, dtype=torch.float64)

    def loss(real, fake):
        return critic(fake).mean() - critic(real).mean() + 10 * gradient_penalty(critic, real, fake)

    options = {"fallback_random": True} if backend == "inductor" else None
    results = []
    for call in (loss, torch.compile(loss, fullgraph=True, backend=backend, options=options)):
        torch.manual_seed(3)
        value = call(real, fake)
        gradients = torch.autograd.grad(
            value, critic.parameters(), allow_unused=True, materialize_grads=True
        )
        results.append((value.detach(), gradients))
    torch._dynamo.reset()
    torch.testing.assert_close(results[1], results[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", CRITICS)
@pytest.mark.parametrize("penalty", [GradientPenalty(), DRAGAN(), R1()], ids=repr)
def test_half_precision_is_close_to_single_precision(name, penalty):
    critic, x = CRITICS[name](), torch.rand(64, *IMAGES)
    values = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled):
            value = penalty(critic, x, x.flip(0))
        critic.zero_grad()
        value.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())
        values.append(value.item())
    assert values[1] == pytest.approx(values[0], rel=0.02)


def test_batch_norm_behind_a_bound_method_is_refused():
    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def score(self, x):
            return self.norm(x).sum(1)

    with pytest.raises(
        SettingError,
        match=r"changes a buffer during the forward pass, as batch norm in training mode .*; "
        r"take norm = ",
    ):
        gradient_penalty(Scored().score, torch.rand(4, 3), torch.rand(4, 3))
