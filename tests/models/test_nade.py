"""NADE and RNADE against closed forms, enumeration, naive sampling and numerical integration."""

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

import genzoo
from genzoo.errors import DataError, SettingError
from genzoo.models.nade import NADE, RNADE


def wide(model, scale: float = 0.8):
    """Return the model in float64 with large weights."""
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model


def every(dims: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=dims)), dtype=torch.float64)


def by_hand(model: NADE, x: Tensor) -> Tensor:
    """Return log p of a binary vector from the paper's two equations, in the order of the model."""
    weight, c, v, b = model.weight, model.bias, model.out_weight[:, 0], model.out_bias[:, 0]
    total = torch.zeros((), dtype=torch.float64)
    for d, dimension in enumerate(model.order.tolist()):
        a = c + sum((weight[k] * x[model.order[k]] for k in range(d)), torch.zeros_like(c))
        p = torch.sigmoid(v[d] @ getattr(torch, model.units)(a) + b[d])
        total = total + torch.log(p if x[dimension] == 1 else 1 - p)
    return total


@pytest.mark.parametrize("units", ["sigmoid", "relu"])
@pytest.mark.parametrize("order", ["raster", "random", (2, 0, 3, 1, 5, 4)])
def test_the_likelihood_matches_the_equations(units, order):
    model = wide(NADE(hidden=4, order=order, order_seed=3, units=units, shape=(1, 2, 3)))
    x = every(6)[::5]
    expected = torch.stack([by_hand(model, row) for row in x])
    torch.testing.assert_close(model.log_prob(x.view(-1, 1, 2, 3)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", ["raster", "random"])
@pytest.mark.parametrize("scale", [0.01, 1.5])
def test_probabilities_sum_to_one(order, scale):
    model = wide(NADE(hidden=5, order=order, shape=(10,)), scale)
    assert abs(model.log_prob(every(10)).exp().sum().item() - 1) < 1e-10


def test_without_the_hidden_layer_dimensions_are_independent():
    """V = 0 leaves sigmoid(b); W = 0 leaves a constant hidden layer."""
    model = wide(NADE(hidden=3, shape=(4,)))
    x = every(4)
    with torch.no_grad():
        model.out_weight.zero_()
    p = model.out_bias[:, 0].sigmoid()
    torch.testing.assert_close(model.log_prob(x), (x * p + (1 - x) * (1 - p)).log().sum(1))
    model = wide(NADE(hidden=3, shape=(4,)))
    with torch.no_grad():
        model.weight.zero_()
    p = (model.out_weight[:, 0] @ model.bias.sigmoid() + model.out_bias[:, 0]).sigmoid()
    torch.testing.assert_close(model.log_prob(x), (x * p + (1 - x) * (1 - p)).log().sum(1))


def test_two_dimensions_and_one_hidden_unit_by_hand():
    model = NADE(hidden=1, shape=(2,)).double()
    values = {
        "weight": [[2.0], [7.0]],
        "bias": [-1.0],
        "out_weight": [[[3.0]], [[-2.0]]],
        "out_bias": [[0.5], [1.0]],
    }
    with torch.no_grad():
        for name, value in values.items():
            getattr(model, name).copy_(torch.tensor(value))

    def sigmoid(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    first = sigmoid(3 * sigmoid(-1) + 0.5)
    # a grows by 2 after a 1
    after = {
        0: sigmoid(-2 * sigmoid(-1) + 1),
        1: sigmoid(-2 * sigmoid(1) + 1),
    }
    expected = [
        (1 - first) * (1 - after[0]),
        (1 - first) * after[0],
        first * (1 - after[1]),
        first * after[1],
    ]
    torch.testing.assert_close(
        model.log_prob(every(2)).exp(), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize("order", ["raster", "random"])
def test_conditionals_are_ratios_of_enumerated_margins(order):
    model = wide(NADE(hidden=4, order=order, order_seed=1, shape=(5,)))
    x = every(5)
    joint = model.log_prob(x).exp().detach()
    sequence = model.order.tolist()
    for row in (3, 12, 21):
        probabilities = model.conditionals(x[row : row + 1]).probs[0].detach()
        for d, dimension in enumerate(sequence):
            agree = (x[:, sequence[:d]] == x[row, sequence[:d]]).all(1)
            expected = joint[agree & (x[:, dimension] == 1)].sum() / joint[agree].sum()
            torch.testing.assert_close(probabilities[dimension], expected)


def test_the_jacobian_is_triangular_in_the_order_of_the_model():
    model = wide(NADE(hidden=6, order="random", shape=(7,)))
    x = torch.rand(1, 7, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.distribution(x).logits[0], x)[
        :, 0
    ]
    ordered = (jacobian[model.order][:, model.order] != 0).double()
    assert torch.equal(ordered, torch.ones(7, 7, dtype=torch.float64).tril(-1))


@pytest.mark.parametrize("order", ["raster", "random"])
def test_samples_equal_naive_samples_bit_for_bit(order):
    model = wide(NADE(hidden=8, order=order, shape=(1, 4, 5)))
    u = torch.rand(9, 1, 4, 5, dtype=torch.float64)
    x = torch.full_like(u, 0.5)
    for dimension in model.order.tolist():  # a full forward pass for each
        p = model.distribution(x).probs.flatten(1)[:, dimension].detach()
        x.view(9, 20)[:, dimension] = (u.view(9, 20)[:, dimension] < p).double()
    with torch.no_grad():
        assert torch.equal(model.draw(u, None, None, None), x)


def test_frequencies_of_samples_match_the_probabilities():
    model = wide(NADE(hidden=4, order="random", shape=(3,)))
    expected = model.log_prob(every(3)).exp().detach()
    x = model.sample(40_000)
    frequencies = torch.stack([(x == row).all(1).double().mean() for row in every(3)])
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=4 * 0.5 / 200)


def test_completion_conditions_on_earlier_values():
    """Kept values come first in the order, so the others follow the enumerated conditional."""
    model = wide(NADE(hidden=4, order=(3, 1, 0, 2), shape=(4,)))
    kept = torch.tensor([False, True, False, True])
    x = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    rows = every(4)[(every(4)[:, kept] == x[kept]).all(1)]
    expected = model.log_prob(rows).softmax(0).detach()
    missing = torch.where(kept, x, math.nan)  # missing values may be anything
    completions = model.complete(missing.expand(20_000, 4), kept)
    frequencies = torch.stack([(completions == row).all(1).double().mean() for row in rows])
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=0.015)


@pytest.mark.slow
def test_score_samples_equals_log_prob_and_detects_anomalies():
    model = NADE(hidden=16, shape=(1, 8, 8))
    data = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    genzoo.fit(model, data, steps=300, batch_size=32, players={"model": {"lr": 0.01}})
    x = data.prepare(torch.as_tensor(data.test["x"]))
    torch.testing.assert_close(model.score_samples(x), model.log_prob(x).detach())
    assert not model.score_samples(x).requires_grad
    assert model.score_samples(x[:0]).shape == (0,)
    assert (
        model.score_samples(x) > model.score_samples(x.transpose(2, 3)).median()
    ).double().mean() > 0.9
    # samples are about as likely
    assert abs(model.score_samples(model.sample(300)).mean() - model.score_samples(x).mean()) < 2.5


def test_chunk_sizes_do_not_change_samples(monkeypatch):
    model = wide(NADE(hidden=4, shape=(6,)))
    torch.manual_seed(1)
    whole = model.sample(7)
    monkeypatch.setattr("genzoo.models.autoregressive._CHUNK", 3)
    torch.manual_seed(1)
    assert torch.equal(model.sample(7), whole)
    assert model.sample(0).shape == (0, 6)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((0, 1, 1, 3), "dimension 1 twice"),
        ((0, 1, 2, 4), "dimension 4"),
        ((0, 1, 2), "3 dimensions"),
        ("snake", "raster"),
    ],
)
def test_an_invalid_order_is_named(order, message):
    with pytest.raises(SettingError, match=message):
        NADE(order=order, shape=(4,))


def test_the_config_stores_the_order():
    model = wide(NADE(hidden=3, order="random", order_seed=5, shape=(6,)))
    twin = genzoo.build(model.config).double()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.log_prob(every(6)), model.log_prob(every(6)))
    assert not torch.equal(NADE(order="random", order_seed=6, shape=(6,)).order, model.order)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.uint8])
def test_a_wrong_dtype_is_named(dtype):
    with pytest.raises(
        DataError,
        match=rf"x is {dtype}, but this NADE is torch.float32; give x.to\(torch.float32\)",
    ):
        NADE(hidden=2, shape=(2,)).log_prob(torch.ones(1, 2, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_draws_and_scores(dtype):
    for model in (
        NADE(hidden=3, shape=(4,)).to(dtype),
        RNADE(hidden=3, components=2, shape=(4,)).to(dtype),
    ):
        x = model.sample(5)
        assert x.dtype == dtype
        assert model.log_prob(x).isfinite().all()


def test_values_other_than_bits_are_named(tmp_path):
    with pytest.raises(
        DataError,
        match=r"x has 0\.5, but NADE takes 0 and 1 only; binarize the data, as with data\.binarize",
    ):
        NADE(hidden=2, shape=(2,)).log_prob(torch.tensor([[1.0, 0.5]]))
    with pytest.raises(DataError, match="binarize"):
        genzoo.fit("nade", "digits", tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(4), "float32"),
        (torch.ones(3, dtype=torch.bool), r"of shape \(3,\): expected a bool tensor"),
        ([True] * 4, "list"),
    ],
)
def test_a_mask_of_a_wrong_shape_or_dtype_is_named(mask, message):
    with pytest.raises(SettingError, match=message):
        NADE(hidden=2, shape=(4,)).complete(torch.zeros(2, 4), mask)


@pytest.mark.slow
def test_the_conditional_of_an_rnade_integrates_to_one():
    model = wide(RNADE(hidden=4, components=3, shape=(3,)), 0.5)
    x = torch.tensor([0.3, -0.7, 0.0], dtype=torch.float64)

    def density(value: float, dimension: int) -> float:
        at = x.clone()
        at[dimension] = value
        return model.conditionals(at[None]).log_prob(at[None])[0, dimension].exp().item()

    for dimension in range(3):
        total, _ = quad(density, -60, 60, args=(dimension,), limit=500, points=[-2, -1, 0, 1, 2])
        assert abs(total - 1) < 1e-6


def test_the_rnade_distribution_matches_the_equations():
    model = wide(RNADE(hidden=4, components=2, shape=(2,)), 0.5)
    x = torch.randn(5, 2, dtype=torch.float64)
    total = torch.zeros(5, dtype=torch.float64)
    a = model.bias.expand(5, -1)
    for d in range(2):
        out = torch.relu(model.scale[d] * a) @ model.out_weight[d].T + model.out_bias[d]
        alpha, mu, sigma = out[:, :2].softmax(1), out[:, 2:4], out[:, 4:].exp() + model.sigma_min
        normal = (-((x[:, d, None] - mu) ** 2) / (2 * sigma**2)).exp() / (
            sigma * math.sqrt(2 * math.pi)
        )
        total = total + (alpha * normal).sum(1).log()
        a = a + x[:, d, None] * model.weight[d]
    torch.testing.assert_close(model.log_prob(x), total)


def test_samples_of_an_rnade_have_the_right_moments():
    """The first dimension has the mixture's mean, variance, and distribution function."""
    model = wide(RNADE(hidden=4, components=3, shape=(2,)), 0.5)
    x = model.sample(50_000)
    distribution = model.conditionals(x[:1])
    mean, variance = (
        each[0, 0].item() for each in (distribution.mean.detach(), distribution.variance.detach())
    )
    assert abs(x[:, 0].mean() - mean) < 4 * math.sqrt(variance / 50_000)
    assert abs(x[:, 0].var() / variance - 1) < 0.05
    weights, means, sigmas = (
        each[0, 0].detach()
        for each in (
            distribution.mixture_distribution.probs,
            distribution.component_distribution.mean,
            distribution.component_distribution.stddev,
        )
    )
    for edge in (-1.0, 0.0, 0.5):
        below = (weights * torch.special.ndtr((edge - means) / sigmas)).sum()
        assert abs((x[:, 0] < edge).double().mean() - below) < 0.01


@pytest.mark.slow
def test_an_rnade_learns_a_non_normal_distribution():
    """The data are two crossing lines, which no single normal distribution fits."""
    first = torch.randn(2000, 1)
    x = torch.cat(
        [first, first * (torch.randint(2, (2000, 1)) * 2 - 1) + 0.1 * torch.randn(2000, 1)], 1
    )
    run = genzoo.fit(
        {"name": "rnade", "hidden": 32, "components": 4},
        x,
        steps=400,
        players={"model": {"lr": 0.01}},
    )
    true = torch.logsumexp(
        torch.stack(
            [torch.distributions.Normal(sign * x[:, 0], 0.1).log_prob(x[:, 1]) for sign in (-1, 1)]
        ),
        0,
    ) - math.log(2)
    true = true + torch.distributions.Normal(0, 1).log_prob(x[:, 0])
    joint = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x)
    log_likelihood = run.model.log_prob(x).mean()
    assert joint.mean() + 0.5 < log_likelihood < true.mean() + 0.1


def test_rnade_refuses_non_finite_values_and_images_stay_in_range():
    model = RNADE(hidden=2, components=2, shape=(1, 2, 2))
    assert not model.is_discrete
    with pytest.raises(DataError, match="not finite"):
        model.log_prob(torch.full((1, 1, 2, 2), math.inf))
    x = model.sample(200)
    assert ((x >= 0) & (x <= 1)).all()


def test_unconditional_models_refuse_a_condition():
    model = NADE(hidden=2, shape=(2,))
    for call in (
        lambda: model.sample(2, given=torch.zeros(2)),
        lambda: model.log_prob(torch.ones(1, 2), torch.zeros(1)),
    ):
        with pytest.raises(
            DataError, match="this NADE takes no labels, and given is a Tensor; leave it out"
        ):
            call()
