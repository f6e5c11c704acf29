"""Benchmarks at a tiny size: their comparisons are fair, and their numbers are finite."""

import importlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo.registry.lookup import registry

FOLDER = Path(__file__).parents[1] / "benchmarks"
PEERS = FOLDER.parent / "build" / "peers"
if not FOLDER.exists():
    pytest.skip("benchmarks/ is in a checkout only", allow_module_level=True)

_SMALL = {"name": "conv", "channels": (4, 8)}
_FEW = {
    "eonade": {"hidden": (4,)},
    "nade": {"hidden": 4},
    "pixel-rnn": {"hidden": 4, "depth": 1},
    "rnade": {"hidden": 4},
}
TABLES = {
    "dcgan": {"name": "dcgan", "channels": (4,)},
    "wgan-gp": {
        "name": "wgan-gp",
        "generator": {**_SMALL, "norm": "batch"},
        "critic": {**_SMALL, "norm": "layer"},
    },
}


def levels(rows, size):
    return torch.randint(0, 256, (rows, 1, size, size), dtype=torch.uint8)


@pytest.fixture
def script(monkeypatch):
    """Import a benchmark, which imports the other files of its folder, by name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_a_ratio_is_the_median_of_peer_time_over_our_time(script):
    ratio = script("train_overhead").ratio
    result = {"a": {"cpu": [1.0, 2.0, 4.0]}, "b": {"cpu": [3.0, 2.0, 6.0]}}
    assert ratio(result, "a", "b", "cpu") == 1.5


def test_segments_interleave(script):
    order = []
    result = script("train_overhead").race(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2
    )
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert [len(times["cpu"]) for times in result.values()] == [2, 2]


def test_handwritten_batches_visit_each_image_once_per_pass(script):
    data = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1)
    stream = script("train_overhead").batches(data, 4)
    seen = (torch.cat([next(stream) for _ in range(3)]) * 255).round()
    assert sorted(seen.flatten().tolist()) == list(range(12))


def test_the_trainer_benchmark_returns_finite_numbers(script):
    overhead = script("train_overhead")
    table, data = {"name": "vae", "encoder": {"name": "mlp", "hidden": (4,)}}, levels(256, 8)
    result = overhead.race(
        {"genzoo": overhead.by_fit(table, data, 2), "by hand": overhead.by_hand(table, data, 2)}, 1
    )
    row = overhead.row("VAE", "by hand", result, 2 * overhead.BATCH)
    assert all(
        0 < value < math.inf
        for value in (*row["ratio"].values(), *row["images_per_cpu_second"].values())
    )
    assert any("| VAE | by hand |" in line for line in overhead.markdown([row]))


@pytest.mark.parametrize("name", TABLES)
def test_the_handwritten_losses_equal_those_of_the_model(script, name):
    adversarial, x = script("adversarial"), torch.rand(5, 1, 16, 16)
    model = genzoo.build(TABLES[name], shape=(1, 16, 16))
    torch.manual_seed(1)
    by_hand = adversarial.critic_loss(model, 2 * x - 1), adversarial.generator_loss(model, 5)
    torch.manual_seed(1)
    by_model = model.critic_loss(x)["loss"], model.generator_loss(x)["loss"]
    torch.testing.assert_close(by_hand, by_model)


@pytest.mark.slow
def test_speed_returns_finite_numbers(script):
    adversarial = script("adversarial")
    cases = {name: (table, 1) for name, table in TABLES.items()}
    rows = adversarial.speed(levels(320, 16), 1, cases, peer=None)
    assert [row["case"] for row in rows] == list(TABLES)
    assert all(0 < value < math.inf for row in rows for value in row["ratio"].values())


def test_torchgan_makes_the_same_number_of_steps(script, monkeypatch):
    if not (PEERS / "torchgan").exists():
        pytest.skip("torchgan is not in build/peers")
    monkeypatch.syspath_prepend(PEERS)
    trainer = script("adversarial").by_torchgan(TABLES["wgan-gp"], levels(640, 16), 2)()
    assert trainer.loss_information["generator_iters"] == 2
    # torchgan counts the penalty as a separate step.
    assert trainer.loss_information["discriminator_iters"] == 2 * 10
    assert all(0 < p.abs().sum() < math.inf for p in trainer.discriminator.parameters())


@pytest.mark.slow
def test_quality_returns_finite_numbers_and_continues_after_an_interruption(
    script, tmp_path, monkeypatch
):
    adversarial = script("adversarial")
    dataset = genzoo.Dataset({"x": levels(256, 28)}, {"x": levels(40, 28)})
    names = ["vae", "wae-gan"]
    steps = adversarial.planned(names, 0.01, 1, tmp_path, dataset, trial=1)
    assert min(steps.values()) >= 1
    runs = adversarial.quality(names, [0, 1], dict.fromkeys(names, 2), 1, tmp_path, dataset)
    assert [(run["model"], run["seed"]) for run in runs] == [
        (name, seed) for seed in (0, 1) for name in names
    ]
    assert all(0 < run[key] < math.inf for run in runs for key in adversarial.MEASURES)
    (tmp_path / "wae-gan-1.json").unlink()
    trained = []
    monkeypatch.setattr(
        adversarial, "trained", lambda *arguments: trained.append(arguments[:3]) or {}
    )
    again = adversarial.quality(names, [0, 1], dict.fromkeys(names, 2), 1, tmp_path, dataset)
    assert again[:3] == runs[:3]
    assert trained == [("wae-gan", 1, 2)]  # only the missing run
    assert adversarial.planned(names, 0.01, 1, tmp_path, dataset) == steps


def test_a_model_that_repeats_the_test_images_has_distance_zero(script):
    adversarial = script("adversarial")

    class Echo(torch.nn.Module):
        shape, inputs = (1, 28, 28), ("x",)
        encode = staticmethod(lambda x: x.flatten(1)[:, :2])
        reconstruct = staticmethod(lambda x: x)
        decode = staticmethod(lambda z: torch.zeros(len(z), 1, 28, 28))
        sample = staticmethod(lambda n: torch.zeros(n, 1, 28, 28))
        batch_size = staticmethod(len)

    result = adversarial.measured(
        Echo(), genzoo.Dataset({"x": levels(64, 28)}, {"x": levels(40, 28)})
    )
    assert result["squared_error"] == 0
    assert abs(result["reconstruction"]) < 1e-3
    assert result["prior"] == pytest.approx(result["mixture"])
    assert result["prior"] > 1


def test_the_page_shows_mean_and_range(script):
    adversarial = script("adversarial")
    runs = [
        {"model": "vae", "seed": seed, "steps": 9, **dict.fromkeys(adversarial.MEASURES, value)}
        for seed, value in ((0, 1.0), (1, 4.0))
    ]
    part = {
        **script("machine").machine(),
        "command": "x",
        "seconds": 1,
        "threads": 1,
        "seeds": [0, 1],
        "n": 5,
        "floor": 0.1,
    }
    text = adversarial.page({"quality": {**part, "runs": runs}})
    assert "| vae | 9 | 2.50000 (1.00000 to 4.00000) | 2.5 (1.0 to 4.0) |" in text
    assert "## Speed" not in text


@pytest.mark.parametrize("variant", ["eager", "channels last"])
def test_the_speed_of_a_variant_is_finite(script, monkeypatch, variant):
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "ROWS", 32)
    result = gpu.VARIANTS[variant]("wae-gan", (1, 8, 8), "cpu", 16, 2)
    assert all(0 < value < math.inf for value in result.values())
    assert result.keys() == {"images_per_second", "step_ms"}


def test_images_reach_the_model_in_channels_last_format(script):
    data = script("gpu").ChannelsLast({"x": torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)})
    assert data.prepare(data.train["x"]).is_contiguous(memory_format=torch.channels_last)


def test_every_built_in_model_is_measured(script):
    registration = registry("models").registration
    names = [name for name in genzoo.available() if registration(name).origin == "genzoo"]
    assert script("gpu").built_in() == names


def test_a_failure_is_reported_by_its_first_line(script):
    gpu = script("gpu")

    def fails(*_):
        raise RuntimeError("no | memory\nand so on")

    models = {"vae": dict.fromkeys(gpu.VARIANTS, gpu.attempt(fails))}
    assert models["vae"]["eager"] == {"error": "no | memory"}
    samples = {
        "nade": {"eager": {"samples_per_second": 1500.0, "draw_ms": 2.0}, "CUDA graph": None}
    }
    result = {
        **script("machine").machine(),
        "command": "x",
        "device": "cpu",
        "shape": (1, 8, 8),
        "batch": 4,
        "steps": 1,
    }
    text = gpu.page({**result, "models": models, "samples": samples})
    assert "| vae | fails: no \\| memory |" in text
    assert "| nade | 1,500 (2.00 ms) | - |" in text


EXPLICIT = ["eonade", "nade", "pixel-rnn", "rnade"]


@pytest.mark.parametrize("name", EXPLICIT)
def test_explicit_models_train_on_supported_levels(script, monkeypatch, name):
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "ROWS", 32)
    monkeypatch.setattr(gpu, "SETTINGS", _FEW)
    assert 0 < gpu.by_fit(name, (1, 8, 8), "cpu", 16, 2)["images_per_second"] < math.inf


@pytest.mark.parametrize("name", ["independent", "markov"])
def test_a_model_fitted_in_closed_form_has_no_training_speed(script, name):
    assert script("gpu").by_fit(name, (1, 8, 8), "cpu", 16, 2) is None


@pytest.mark.parametrize("count", [2, 5, 256])
def test_levels_are_stored_exactly(script, monkeypatch, count):
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "ROWS", 32)
    model = genzoo.build(
        {"name": "pixel-rnn", "hidden": 4, "depth": 1, "levels": count}, shape=(1, 4, 4)
    )
    data = genzoo.Dataset(gpu.columns(model), levels=gpu.levels(model))
    assert 0 < int(data.train["x"].max()) < count
    model.check_batch(data.prepare(data.train["x"]))


def test_samples_of_every_explicit_model_are_timed(script, monkeypatch):
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "SETTINGS", _FEW)
    monkeypatch.setattr(gpu, "DRAWS", 3)
    cases = gpu.explicit(gpu.built_in())
    layers = [f"pixel-rnn, {layer}" for layer in ("diagonal-bilstm", "row-lstm", "conv")]
    assert sorted(cases) == sorted([*{*EXPLICIT, "independent", "markov"} - {"pixel-rnn"}, *layers])
    for name, settings in cases.values():
        result = gpu.samples(name, (1, 4, 4), "cpu", **settings)
        assert all(0 < value < math.inf for value in result.values())
        assert gpu.samples_by_graph(name, (1, 4, 4), "cpu", **settings) is None


@pytest.mark.parametrize("name", ["nade", "rnade", "pixel-rnn", "independent", "markov"])
def test_sampling_reads_the_static_buffer(script, monkeypatch, name):
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "SETTINGS", _FEW)
    draw, u = gpu.drawing(gpu.build(name, (1, 4, 4)))
    u.fill_(0.999)
    low = draw()
    u.fill_(0.001)
    high = draw()
    assert not torch.equal(low, high)
    assert low.shape == high.shape == (gpu.DRAWS, 1, 4, 4)


@pytest.fixture(scope="module")
def autoregressive():
    """Import the benchmark of autoregressive models; restore the number of threads afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        threads = torch.get_num_threads()
        yield importlib.import_module("autoregressive")
        torch.set_num_threads(threads)


def test_implementations_of_autoregressive_models_agree(autoregressive):
    assert autoregressive.check_nade() < 1e-12
    assert autoregressive.check_diagonal() < 1e-12
    assert autoregressive.check_draws() == 0


def test_a_difference_would_be_detected(autoregressive):
    model = autoregressive.wide(genzoo.build({"name": "nade", "hidden": 3}, shape=(4,)))
    x = autoregressive.bits(model)

    def correct():
        return model.loss(x)["loss"]

    def wrong():
        return autoregressive.nats(autoregressive.by_loop(model, x.flip(1)), x)

    assert autoregressive.apart(correct, correct, model.parameters()) == 0
    assert autoregressive.apart(correct, wrong, model.parameters()) > 1e-3


def test_the_pixelcnn_of_the_peer_is_causal(autoregressive):
    torch.manual_seed(0)
    peer = autoregressive.PeerPixelCNN(features=6, depth=2).double()
    size = 5 * 6
    support = torch.zeros(size, size, dtype=torch.bool)
    for _ in range(4):
        x = torch.rand(1, 1, 5, 6, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda x: peer.net(x).flatten(), x)
        support |= jacobian.view(size, size) != 0
    assert not support.triu().any()
    assert support.sum() > 0.8 * size * (size - 1) / 2


def test_the_published_loss_of_the_peer_applies_the_sigmoid_twice(autoregressive):
    nade = autoregressive.wide(genzoo.build({"name": "nade", "hidden": 3}, shape=(4,)))
    peer, x = autoregressive.PeerNADE(nade).double(), torch.randint(2, (5, 4)).double()
    p = nade.conditionals(x).probs
    for loss, distribution in ((peer.loss, p), (peer.published_loss, p.sigmoid())):
        expected = -torch.where(x > 0, distribution, 1 - distribution).log().sum(1).mean()
        torch.testing.assert_close(loss(x), expected)


def test_extrapolated_times_are_multiplied(autoregressive, monkeypatch):
    result = {"genzoo": {"cpu": [1.0, 2.0]}, "naive": {"cpu": [3.0, 8.0]}}
    monkeypatch.setattr(autoregressive, "race", lambda *_: result)
    (row,) = autoregressive.rows("x", dict.fromkeys(result), 2, {"naive": 5.0}, naive=10.0)
    assert (row["ours_ms"], row["other_ms"], row["ratio"]) == (1500, 55000, 35)
    assert row["extrapolated"]
    assert (
        "| x, compared with naive | 1,500.0 | about 55,000.0 | 35.0 | >= 5 |"
        in autoregressive.times([row])
    )


@pytest.mark.slow
def test_the_page_of_autoregressive_models(autoregressive, tmp_path, monkeypatch):
    case = "NADE, genzoo"  # every case starts a process; one is enough
    monkeypatch.setattr(autoregressive, "LOSSES", {case: autoregressive.LOSSES[case]})
    parts = [
        part
        for part in autoregressive.PARTS
        if part != "memory" or Path("/proc/self/clear_refs").exists()
    ]
    autoregressive.main(["--quick", "--parts", *parts, "--out", str(tmp_path / "page")])
    result = json.loads((tmp_path / "page.json").read_text())["parts"]
    assert list(result) == parts
    rows = [row for part in result.values() for row in part["rows"] if "ratio" in row]
    assert len(rows) == 3 + 2 + 2 + 3 + 4
    assert all(0 < row[key] < math.inf for row in rows for key in ("ours_ms", "other_ms", "ratio"))
    scores = {row["case"]: row["nats"] for row in result["peers"]["scores"]}
    assert scores["NADE, peer, corrected loss"] == pytest.approx(scores["NADE, genzoo"], abs=1e-3)
    assert all(0 < nats < 64 * math.log(2) + 10 for nats in scores.values())
    text = (tmp_path / "page.md").read_text()
    assert text.count("\n## ") == len(parts)
    assert "python benchmarks/autoregressive.py --quick" in text


@pytest.mark.parametrize("name", ["vae", "wae-gan", "wgan", "wgan-gp"])
def test_a_handwritten_round_trains_each_player_on_static_buffers(script, monkeypatch, name):
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "ROWS", 32)
    model = gpu.build(name, (1, 8, 8))
    data = genzoo.Dataset(gpu.columns(model))
    play, buffers = gpu.game(model, data, 16)
    assert len(buffers) == max(player.steps_per_round for player in model.players())
    assert data.train["x"].dtype == torch.uint8
    addresses = [buffer["x"].data_ptr() for buffer in buffers]
    before = {key: p.clone() for key, p in model.named_parameters()}
    gpu.fill(buffers, data)
    play()
    assert [buffer["x"].data_ptr() for buffer in buffers] == addresses
    constant = [key for key, p in model.named_parameters() if torch.equal(p, before[key])]
    # The bias of a Wasserstein critic's last layer has no gradient.
    assert all(before[key].shape == (1,) for key in constant)
    assert all(p.isfinite().all() for p in model.parameters())


def test_the_metrics_and_their_peers_are_timed(script, tmp_path, monkeypatch):
    metrics = script("metrics")
    arguments = ["metrics.py", "--rows", "150", "--repeats", "1", "--out", str(tmp_path / "page")]
    monkeypatch.setattr("sys.argv", arguments)
    metrics.main()
    result = json.loads((tmp_path / "page.json").read_text())
    assert [row["peer"] for row in result["rows"]] == [
        "torchmetrics", "", "", "torchmetrics", "", "POT", "prdc",
    ]  # fmt: skip
    assert all(row["seconds"] > 0 for row in result["rows"])
    text = (tmp_path / "page.md").read_text()
    assert "150 real examples" in text
    assert "python benchmarks/metrics.py --rows 150" in text


@pytest.mark.parametrize("name", ["genzoo", "webdataset", "ImageFolder"])
def test_loaders_of_shards_yield_the_same_images(script, tmp_path, monkeypatch, name):
    if name == "webdataset" and not (PEERS / "webdataset").exists():
        pytest.skip("webdataset is not in build/peers")
    monkeypatch.syspath_prepend(PEERS)
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "index"))
    data = script("data")
    monkeypatch.setattr(data, "BATCH", 20)
    folder = tmp_path / "40x16"
    data.make(folder, 40, 16, 20)
    expected = np.stack([data.Files(folder / "loose")[row][0].numpy() for row in range(40)])
    batches = [*itertools.islice(data.LOADERS[name](folder, 0), 2)]
    images = np.concatenate([np.asarray(batch["x"]) for batch in batches])
    assert np.array_equal(np.sort(images.reshape(40, -1), 0), np.sort(expected.reshape(40, -1), 0))
    labels = torch.cat([torch.as_tensor(batch["y"]) for batch in batches])
    assert torch.equal(labels.bincount(), torch.full((10,), 4))
