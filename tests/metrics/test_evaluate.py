"""Evaluation: values of metrics, skipped metrics, and the state of the model afterwards."""

import pytest
import torch

import genzoo
from genzoo.contract import Measurement, Metric
from genzoo.data.stream import iterate_split
from genzoo.errors import DataError, RunError, SettingError


class Failing(Metric):
    needs = ("sample",)

    def __call__(self, evidence):
        yield Measurement(quantity="before", value=1.0, n=1)
        raise ValueError("no value today")


class Drawing(Metric):
    needs = ("sample",)

    def __call__(self, evidence):
        rows = sum(len(batch) for batch in evidence.batches())
        for name, value in {
            "rows": rows,
            "draw": torch.rand(()).item(),
            "samples": evidence.samples.sum().item(),
            "later draw": torch.rand(()).item(),
            "training": float(evidence.model.training),
            "gradients": float(torch.is_grad_enabled()),
        }.items():
            yield Measurement(quantity=name, value=value, n=rows)


class Old(Metric):
    def __call__(self, evidence):
        return {"value": 1.0}


@pytest.fixture
def metrics(monkeypatch):
    registry = genzoo.registry.lookup.registries["metrics"]
    monkeypatch.setattr(registry, "_registered", {})
    for name, metric in (("failing", Failing), ("drawing", Drawing), ("old", Old)):
        registry.register(f"test-{name}", metric)


@pytest.fixture
def vae():
    return genzoo.build({"name": "vae", "latent_dim": 2}, shape=(1, 8, 8))


def test_values_equal_the_metric_on_held_out_rows(vae):
    data = genzoo.build("digits", "datasets")
    evaluation = genzoo.evaluate(vae, data, ["reconstruction"], n=70, batch_size=32)
    x = torch.cat(list(iterate_split(data, ("x",), 1000, vae)))[:70]
    with torch.no_grad():
        error = (x - vae.eval().reconstruct(x)).square().mean().item()
    (row,) = evaluation
    assert (row.metric, row.quantity, row.n, row.split) == (
        "reconstruction",
        "squared_error",
        70,
        "test",
    )
    assert row.value == pytest.approx(error, rel=1e-5)
    assert (evaluation.n, evaluation.data, evaluation.skipped) == (70, "digits", {})


def test_random_state_and_modes_are_restored(vae, metrics):
    vae.train()
    vae.decoder.eval()
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    first = genzoo.evaluate(vae, "digits", "test-drawing", n=7)
    assert torch.rand(()) == expected
    assert first == genzoo.evaluate(vae, "digits", "test-drawing", n=7)
    assert first["test-drawing", "rows"].value == 7
    assert first["test-drawing", "training"].value == first["test-drawing", "gradients"].value == 0
    assert vae.training
    assert not vae.decoder.training


def test_results_do_not_depend_on_the_other_metrics_or_on_their_order(vae, metrics):
    names = ["codes", "test-drawing", "frechet", "texture", "likelihood"]
    forward = genzoo.evaluate(vae, "digits", names, n=50)
    backward = genzoo.evaluate(vae, "digits", names[::-1], n=50)
    for name in names:
        alone = genzoo.evaluate(vae, "digits", [name], n=50)
        assert forward[name] == backward[name] == alone[name]
    other = genzoo.evaluate(vae, "digits", names, n=50, seed=1)
    for name, quantity in (
        ("frechet", "distance"),
        ("test-drawing", "draw"),
        ("likelihood", "elbo"),
    ):
        assert other[name, quantity].value != forward[name, quantity].value


def test_a_failing_metric_does_not_affect_the_others(vae, metrics):
    for names in (None, ["test-failing", "reconstruction"]):
        evaluation = genzoo.evaluate(vae, "digits", names, n=10)
        assert "no value today" in evaluation.skipped["test-failing"]
        metrics_with_rows = {row.metric for row in evaluation}
        assert "reconstruction" in metrics_with_rows
        assert "test-failing" not in metrics_with_rows
    with pytest.raises(ValueError, match="no value today"):
        genzoo.evaluate(vae, "digits", "test-failing", n=10)


def test_a_metric_that_returns_something_else_is_refused_by_name(vae, metrics):
    with pytest.raises(SettingError, match=r"'test-old' returns str objects.*Measurement"):
        genzoo.evaluate(vae, "digits", "test-old", n=10)


def test_an_unsupported_or_unknown_metric_is_skipped_or_refused_before_any_other(metrics):
    gan = genzoo.build("gan", shape=(1, 8, 8))
    evaluation = genzoo.evaluate(gan, "digits", n=10)
    assert "reconstruction" not in {*evaluation.skipped, *(row.metric for row in evaluation)}
    with pytest.raises(SettingError, match=r"'reconstruction'.*reconstruct.*GAN"):
        genzoo.evaluate(gan, "digits", ["test-failing", "reconstruction"])
    with pytest.raises(SettingError, match="frechet"):
        genzoo.evaluate(gan, "digits", ["frechett"])


def test_metrics_may_be_tables_and_instances(vae):
    table = {"name": "frechet", "network": {"name": "random-conv", "dim": 8}}
    metrics = [table, genzoo.metrics.Frechet("pixels"), "frechet"]
    with pytest.warns(UserWarning, match="too few"):
        evaluation = genzoo.evaluate(vae, "digits", metrics, n=40)
    distances = [row for row in evaluation if row.quantity == "distance"]
    assert [(row.metric, row.network) for row in distances] == [
        ("frechet", "random-conv-v1 (dim 8, seed 0)"),
        ("frechet", "pixels-v1"),
        ("frechet", "digits-cnn-v1"),
    ]


def test_a_network_is_the_default_of_metrics_that_name_none(vae):
    metrics = ["kernel-distance", {"name": "kernel-distance", "network": "random-conv"}]
    evaluation = genzoo.evaluate(vae, "digits", metrics, n=40, network="pixels")
    distances = [row.network for row in evaluation if row.quantity == "squared_distance"]
    assert distances == ["pixels-v1", "random-conv-v1"]
    alone = genzoo.evaluate(vae, "digits", {"name": "kernel-distance", "network": "pixels"}, n=40)
    assert list(alone) == list(evaluation)[: len(alone)]


def test_a_run_and_its_folder_bring_their_data(tmp_path):
    x = torch.rand(80, 2, generator=torch.Generator().manual_seed(0))
    run = genzoo.fit("vae", (x[:50], x[50:]), steps=2, batch_size=8, progress=False)
    assert genzoo.evaluate(run, metrics="reconstruction").n == 30
    saved = genzoo.fit("vae", "digits", tmp_path / "run", steps=2, batch_size=8, progress=False)
    from_run, from_folder = (
        genzoo.evaluate(source, metrics="reconstruction", n=20)
        for source in (saved, tmp_path / "run")
    )
    assert from_run == from_folder
    assert genzoo.evaluate(str(tmp_path / "run"), metrics="frechet", n=40).n == 40
    with pytest.raises(SettingError, match="VAE has no data of its own"):
        genzoo.evaluate(run.model)
    with pytest.raises(RunError, match="not a run folder"):
        genzoo.evaluate(tmp_path / "nowhere")
    with pytest.raises(SettingError, match=r"run is 5: expected a model.*, or samples"):
        genzoo.evaluate(5, "digits")
    with pytest.raises(DataError, match=r"shape \(2,\).*digits.*\(1, 8, 8\)"):
        genzoo.evaluate(run, "digits")


@pytest.mark.parametrize("shape", [(3, 64, 64), (5,), (4, 6)])
def test_every_shape_of_data_can_be_evaluated(shape):
    x = torch.rand(80, *shape, generator=torch.Generator().manual_seed(0))
    data = genzoo.Dataset({"x": x[:40]}, {"x": x[40:]})
    # The likelihood decodes thousands of codes.
    networks = {part: {"name": "mlp", "hidden": (8,)} for part in ("encoder", "decoder")}
    evaluation = genzoo.evaluate(genzoo.build({"name": "vae", **networks}, shape=shape), data)
    assert "frechet" in {row.metric for row in evaluation}
    assert set(evaluation.skipped) <= {"ngram-js"}  # it reads only one-hot symbols
