"""Errors name unscaled data as the cause of exploding losses, and the advice helps."""

import warnings

import pytest
import torch

import genzoo
from genzoo import Dataset
from genzoo.errors import TrainingError
from genzoo.train.scales import unscaled
from tests.games import Mean  # noqa: F401

SMALL = {"name": "mlp", "hidden": [16]}
VAE = {"name": "vae", "latent_dim": 2, "encoder": SMALL, "decoder": SMALL}
UNIFORM = torch.rand(300, 20, generator=torch.Generator().manual_seed(0))
WHERE = {"steps": 60, "batch_size": 64, "log_every": 20}


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [VAE, {**VAE, "name": "wae-mmd"}, {"name": "rnade", "hidden": 8, "components": 2}]
)
@pytest.mark.parametrize("scale", [300.0, 1e25])
def test_unscaled_tables_train_or_raise_helpful_advice(model, scale):
    x = UNIFORM * scale
    try:
        assert genzoo.fit(model, x, **WHERE).steps == 60
    except TrainingError as error:
        assert "unscaled data" in str(error) and "standardize" in str(error)  # noqa: PT017, PT018
        assert "learning rate" not in str(error)  # noqa: PT017
    history = genzoo.fit(model, Dataset({"x": x}, standardize=True), **WHERE).history
    assert history[-1]["loss"] < history[0]["loss"] < 1e3


def test_a_non_finite_loss_names_columns_of_different_scales():
    x = UNIFORM * torch.logspace(-3, 25, 20)
    with pytest.raises(
        TrainingError,
        match=r"was \S+ at step 1\..*[89](\.\d+)?e\+24 and its columns .* "
        r"differ in scale by 10\^28",
    ):
        genzoo.fit(VAE, x, **WHERE)


def test_an_exploding_loss_is_explained_once():
    with pytest.warns(
        UserWarning,
        match=r"loss of player 'mean' explodes. The likely cause is unscaled data: .*Standardize",
    ) as caught:
        genzoo.fit(
            "test-mean",
            300 * UNIFORM,
            steps=20,
            batch_size=64,
            log_every=5,
            players={"mean": {"lr": 2.5, "momentum": 0.0}},
        )
    assert len([w for w in caught if "explodes" in str(w.message)]) == 1


def test_scaled_data_are_not_reported():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        genzoo.fit(
            "test-mean",
            UNIFORM,
            steps=12,
            batch_size=64,
            log_every=5,
            players={"mean": {"lr": 2.5}},
        )
    with pytest.raises(
        TrainingError, match=r"This was the first step, so the cause is the data or the loss"
    ):
        genzoo.fit({"name": "test-mean", "nan_at": 1}, UNIFORM, steps=2, batch_size=64)
    with pytest.raises(
        TrainingError, match=r"at step 2\..*Lower the learning rate, or set train.clip_grad_norm"
    ):
        genzoo.fit({"name": "test-mean", "nan_at": 2}, UNIFORM, steps=2, batch_size=64)


def test_unscaled_columns_are_detected():
    normal = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    assert unscaled(normal) is None
    assert unscaled(torch.rand(20, 3, 4, 4)) is None
    # labels
    assert unscaled({"x": normal, "y": torch.arange(1000)}) is None
    # a constant column
    assert unscaled(torch.cat([normal, torch.ones(200, 1)], 1)) is None
    for factor, ratio in ((1e3, r"10^3"), (1e-6, r"10^6")):
        x = normal.clone()
        x[:, 2] *= factor
        assert ratio in unscaled(x)
    assert "of y is" in unscaled({"x": normal, "y": 100 * normal})
