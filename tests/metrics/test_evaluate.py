"""Evaluation: values of metrics, skipped metrics, and the state of the model afterwards."""

import pytest
import torch

import genzoo
from genzoo.contract import Metric
from genzoo.data.stream import iterate_split
from genzoo.errors import SettingError


class Failing(Metric):
    needs = ("sample",)

    def __call__(self, model, batches):
        raise ValueError("no value today")


class Drawing(Metric):
    needs = ("sample",)

    def __call__(self, model, batches):
        rows = sum(len(batch) for batch in batches)
        return {"rows": rows, "draw": torch.rand(()).item(), "training": model.training}


@pytest.fixture
def metrics():
    genzoo.metrics.register("test-failing")(Failing)
    genzoo.metrics.register("test-drawing")(Drawing)
    yield
    for name in ("test-failing", "test-drawing"):
        genzoo.registry.lookup.registries["metrics"].unregister(name)


@pytest.fixture
def vae():
    return genzoo.build({"name": "vae", "latent_dim": 2}, shape=(1, 8, 8))


def test_values_equal_the_metric_on_held_out_rows(vae):
    data = genzoo.build("digits", "datasets")
    evaluation = genzoo.evaluate(vae, data, ["reconstruction"], limit=70, batch_size=32)
    x = torch.cat(list(iterate_split(data, ("x",), 1000, vae)))[:70]
    with torch.no_grad():
        error = (x - vae.eval().reconstruct(x)).square().mean().item()
    assert list(evaluation) == ["reconstruction"]
    assert evaluation["reconstruction"]["squared_error"] == pytest.approx(error, rel=1e-5)
    assert (evaluation.rows, evaluation.skipped) == (70, {})


def test_random_state_and_modes_are_restored(vae, metrics):
    vae.train()
    vae.decoder.eval()
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    first = genzoo.evaluate(vae, "digits", ["test-drawing"], limit=7)
    assert torch.rand(()) == expected
    assert first == genzoo.evaluate(vae, "digits", ["test-drawing"], limit=7)
    assert first["test-drawing"]["rows"] == 7
    assert not first["test-drawing"]["training"]
    assert vae.training
    assert not vae.decoder.training


def test_a_failing_metric_is_skipped_unless_requested_by_name(vae, metrics):
    evaluation = genzoo.evaluate(vae, "digits", limit=10)
    assert "no value today" in evaluation.skipped["test-failing"]
    assert "test-failing" not in evaluation
    assert "reconstruction" in evaluation
    with pytest.raises(ValueError, match="no value today"):
        genzoo.evaluate(vae, "digits", ["test-failing"], limit=10)


def test_an_unsupported_metric_is_skipped_or_refused():
    gan = genzoo.build("gan", shape=(1, 8, 8))
    evaluation = genzoo.evaluate(gan, "digits", limit=10)
    assert "reconstruction" not in {*evaluation, *evaluation.skipped}
    with pytest.raises(SettingError, match=r"'reconstruction'.*reconstruct.*GAN"):
        genzoo.evaluate(gan, "digits", ["reconstruction"])
