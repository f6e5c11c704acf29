"""The two closed-form distributions: parameters, fits by counting, and samples."""

import itertools
import math

import pytest
import torch

import genzoo
from genzoo.errors import DataError, SettingError
from genzoo.models.pixels import Independent, Markov


def bits() -> torch.Tensor:
    data = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    return data.prepare(torch.as_tensor(data.train["x"]))[:, :, :3, :4]


def every(dims: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=dims)))


@pytest.mark.parametrize(("kind", "number"), [(Independent, 12), (Markov, 23)])
def test_the_number_of_parameters(kind, number):
    """n and 2n - 1; an unstructured distribution has 2^n - 1."""
    assert sum(parameter.numel() for parameter in kind(shape=(1, 3, 4)).parameters()) == number


def test_independent_pixels_are_fitted_by_frequencies():
    x = bits()
    model = Independent(shape=x.shape[1:]).double().fit(x)
    frequency = (x.double().sum(0) + 0.5) / (len(x) + 1)
    expected = torch.where(x > 0.5, frequency, 1 - frequency).log().flatten(1).sum(1)
    torch.testing.assert_close(model.log_prob(x.double()), expected)


def test_markov_is_fitted_by_counting_pairs():
    x = bits()
    flat = x.flatten(1).int().tolist()
    model = Markov(shape=x.shape[1:]).double().fit(x)
    total = 0.0
    for row in flat[:20]:
        for d, bit in enumerate(row):
            before = row[d - 1] if d else 0
            matching = [other for other in flat if not d or other[d - 1] == before]
            ones = (sum(other[d] for other in matching) + 0.5) / (len(matching) + 1)
            total += torch.tensor(ones if bit else 1 - ones).log().item()
    assert abs(model.log_prob(x[:20].double()).sum().item() - total) < 1e-3


@pytest.mark.parametrize("kind", [Independent, Markov])
def test_the_gradient_is_zero_at_the_fit(kind):
    """Without smoothing, counting gives the maximum of the likelihood."""
    x = torch.randint(2, (200, 6)).double()
    model = kind(shape=(6,)).double().fit(x, smoothing=0)
    model.loss(x)["loss"].backward()
    for parameter in model.parameters():
        assert parameter.grad.abs().max() < 1e-9


@pytest.mark.parametrize("kind", [Independent, Markov])
def test_probabilities_sum_to_one_and_samples_follow_them(kind):
    model = kind(shape=(4,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    expected = model.log_prob(every(4)).exp().detach()
    assert abs(expected.sum() - 1) < 1e-6
    x = model.sample(40_000)
    frequencies = torch.stack([(x == row).all(1).float().mean() for row in every(4)])
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=0.01)


def test_completion_follows_the_chain_from_the_kept_pixels():
    model = Markov(shape=(3,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 2)
    x, keep = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([False, True, False])
    completions = model.complete(x.expand(20_000, 3), keep)
    assert (completions[:, 1] == 1).all()
    assert abs(completions[:, 2].mean() - model.after_one[1].sigmoid()) < 0.015
    assert abs(completions[:, 0].mean() - model.after_zero[0].sigmoid()) < 0.015


def test_constant_bits_have_a_finite_likelihood():
    x = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    for kind in (Independent, Markov):
        for smoothing in (0, 0.5):
            model = kind(shape=(2,)).fit(x, smoothing=smoothing)
            assert model.log_prob(1 - x).isfinite().all()
            assert (model.log_prob(x) > -1).all()


@pytest.mark.parametrize("kind", [Independent, Markov])
def test_gradient_steps_converge_to_the_closed_form(kind):
    x = bits()
    closed = kind(shape=x.shape[1:]).fit(x)
    descended = kind(shape=x.shape[1:])
    optimizer = torch.optim.Adam(descended.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        descended.loss(x)["loss"].backward()
        optimizer.step()
    assert abs(descended.log_prob(x).mean() - closed.log_prob(x).mean()) < 0.05
    with pytest.raises(DataError, match="binarize"):
        closed.fit(x * 0.5)


def test_data_that_cannot_be_fitted_are_named():
    for kind in (Independent, Markov):
        with pytest.raises(DataError, match="no examples"):
            kind(shape=(2,)).fit(torch.zeros(0, 2))
        with pytest.raises(SettingError, match="smoothing = -1"):
            kind(shape=(2,)).fit(torch.zeros(1, 2), smoothing=-1)


@pytest.mark.parametrize("name", ["independent", "markov"])
def test_training_solves_for_the_parameters_and_saves_them(tmp_path, name):
    x = (torch.rand(50, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    run = genzoo.fit(name, x, tmp_path / "run", batch_size=16, progress=False)
    ones, after_one = x.sum(0), x[:, :-1].sum(0)
    loaded = genzoo.load(tmp_path / "run")
    if name == "independent":
        assert torch.allclose(loaded.logit.sigmoid(), (ones + 0.5) / 51)
    else:
        both = (x[:, :-1] * x[:, 1:]).sum(0)
        assert torch.allclose(loaded.after_one.sigmoid(), (both + 0.5) / (after_one + 1))
        assert torch.allclose(loaded.after_zero[0].sigmoid(), (ones[0] + 0.5) / 51)
    assert run.steps == 1
    assert [line["step"] for line in run.history] == [1]
    assert run.history[0]["loss"] == pytest.approx(
        -float(loaded.log_prob(x).mean().detach()), rel=1e-5
    )
    again = genzoo.fit(name, x, tmp_path / "run", batch_size=16, progress=False, resume=True)
    assert again.was_complete


def test_settings_of_gradient_steps_warn_with_a_closed_form():
    with pytest.warns(
        UserWarning,
        match=r"Independent is fitted in closed form.*train\.steps, players\.model has no effect",
    ):
        genzoo.fit(
            "independent", torch.eye(8), steps=5, batch_size=8, players={"model": {"lr": 1.0}}
        )


def test_the_smoothing_passed_to_fit_is_stored(tmp_path):
    model = genzoo.load("independent", shape=(8,)).fit(torch.eye(8), smoothing=0)
    assert genzoo.load(genzoo.save(model, tmp_path / "kept")).smoothing == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rare_bits_are_as_rare_in_half_precision(dtype):
    torch.manual_seed(0)
    model = Independent(shape=(1, 10, 10))
    with torch.no_grad():
        model.logit.fill_(-8.0)  # p = 3.4e-4
    x = model.to(dtype).sample(5000)
    assert x.dtype == dtype
    # 168 bits, with a standard deviation of 13
    assert x.float().mean().item() == pytest.approx(1 / (1 + math.exp(8)), rel=0.4)
