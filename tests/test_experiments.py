"""Every experiment runs at a tiny size, writes its figure and numbers, and reuses results."""

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from genzoo.blocks.mlp import MLPEncoder
from genzoo.contract.dataset import Dataset
from genzoo.registry.lookup import registries
from recipes.pages import table

FOLDER = Path(__file__).parents[1] / "recipes" / "experiments"
RUNS = {
    "leaderboard": "leaderboard --models WAE-MMD NADE --seeds 2 --n 40"
    " --override data.name=digits train.steps=2",
    "parallel-lines": "parallel_lines --n 5 --steps 2",
    "toy": "toy --steps 2 --samples 50",
    "clip-vs-penalty": "clip_vs_penalty --steps 2 --depth 3 --width 8",
    "overfit": "overfit --data digits --steps 2 --rows 80 --width 16 --looks 2",
    "random-architectures": "random_architectures --part table --n 1 --steps 1",
    "curves": "random_architectures --part curves --data digits --steps 2 --width 4",
    "outliers": "outliers --data digits --levels 17 --steps 2 --rows 20",
    "variants": "random_architectures --part variants --steps 1 --width 4",
}
"""Output of an experiment -> its script and arguments."""


@pytest.fixture
def experiment(import_from):
    """Import experiments by name."""
    return functools.partial(import_from, FOLDER)


def numbers(value):
    """Return all numbers in nested lists and tables."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.slow
@pytest.mark.figures
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore:step .* the generator's samples vary less")
def test_an_experiment_writes_its_figure_and_finite_numbers(name, experiment, tmp_path, capsys):
    script, *arguments = RUNS[name].split()
    arguments += ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    experiment(script).main(arguments)
    first = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    results = numbers(first["result"])
    assert len(results) > 5
    assert all(map(math.isfinite, results))
    assert first["machine"]["threads"] == 1
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")}
    printed = capsys.readouterr().out
    experiment(script).main(arguments)
    again = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert again == first, "the same numbers, read from the cache"
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")
    } == cached
    assert capsys.readouterr().out in printed, "only the table is printed again"


def test_a_cell_with_other_settings_is_computed_again(experiment, tmp_path):
    figure = experiment("figure")
    options = figure.common_parser("").parse_args(["--cache", str(tmp_path)])
    computed = []

    def compute():
        computed.append(torch.initial_seed())
        return {"value": len(computed)}

    cells = [figure.Cells(options, "x", {"steps": steps}) for steps in (1, 1, 2)]
    assert [cell("a b", compute)["value"] for cell in cells] == [1, 1, 2]
    assert computed == [0, 0]


def test_a_table_replaces_only_the_text_between_its_marks(experiment, tmp_path):
    figure, page = experiment("figure"), tmp_path / "out.md"
    page.write_text("a\n<!-- one -->\n<!-- end -->\nb\n<!-- two -->\nold\n<!-- end -->\nc\n")
    options = figure.common_parser("").parse_args(["--out", str(tmp_path / "out")])
    for name in ("one", "two", "two", "three"):
        figure.write(options, name, {}, {}, table(["x", "y"], [[name, 1.5]]))
    one, two = (f"\n| x | y |\n| --- | --: |\n| {name} | 1.5 |\n\n" for name in ("one", "two"))
    first, second = f"<!-- one -->\n{one}<!-- end -->", f"<!-- two -->\n{two}<!-- end -->"
    assert page.read_text() == f"a\n{first}\nb\n{second}\nc\n"


def test_architectures_come_from_the_space_of_the_paper(experiment):
    architecture = experiment("random_architectures").architecture
    networks = [net for number in range(200) for net in architecture(0, number)]
    assert {len(net["hidden"]) for net in networks} == {4, 8, 12, 20}
    assert {width for net in networks for width in net["hidden"]} == {32, 64, 128}
    assert {net["activation"] for net in networks} == {
        "relu",
        "leaky-relu",
        "shifted-softplus",
        "tanh",
    }
    assert {net["norm"] for net in networks} == {"batch", "none"}
    assert architecture(0, 3) == architecture(0, 3) != architecture(0, 4)


def test_the_shifted_softplus_matches_the_paper():
    """A network with unit weights computes softplus(2x + 2) / 2 - 1."""
    net = MLPEncoder((1,), 1, hidden=(1,), activation="shifted-softplus").double()
    for p in net.parameters():
        p.data.fill_(float(p.dim() == 2))
    x = np.linspace(-8, 8, 33)[:, None]
    np.testing.assert_allclose(
        net(torch.from_numpy(x)).detach().numpy(), np.log1p(np.exp(2 * x + 2)) / 2 - 1, rtol=1e-12
    )


def test_gradients_by_layer_are_products_of_weights(experiment):
    """With positive weights and data, ReLU layers are linear.

    Then the gradient with respect to a layer is the product of the matrices above it.
    """
    module = experiment("clip_vs_penalty")
    data = torch.rand(20, 2) + 9
    critic = {"name": "mlp", "hidden": [4, 3], "activation": "relu"}
    fixed = {"latent_dim": 2, "prior": module.Noisy(2, data), "generator": torch.nn.Identity()}
    model = module.genzoo.build({"name": "wgan", **fixed, "critic": critic}, shape=(2,))
    first, second, last = (p.data.abs_() for p in model.critic.parameters() if p.dim() == 2)
    for p in model.critic.parameters():
        p.data.abs_()
    expected = [(last @ second @ first).norm(), (last @ second).norm(), last.norm()]
    assert module.gradient_by_layer(model, data) == pytest.approx(
        [float(x) for x in expected], rel=1e-5
    )


def test_noisy_data_have_the_variance_of_the_data_plus_one(experiment):
    data = torch.tensor([[3.0, -2.0]])
    noise = experiment("clip_vs_penalty").Noisy(2, data).sample(20_000) - data
    assert noise.mean(0).abs().max() < 5 / math.sqrt(20_000)
    assert (noise.var(0) - 1).abs().max() < 5 * math.sqrt(2 / 20_000)


def test_the_floor_is_the_distance_between_two_halves_of_the_data(experiment, monkeypatch):
    """Two equal halves have distance 0."""
    half = torch.rand(30, 1, 8, 8)
    data = Dataset({"x": torch.cat([half, half])})
    monkeypatch.setattr(experiment("methods").genzoo, "build", lambda *_: data)
    assert experiment("methods").Real("halves").floor == pytest.approx(0, abs=1e-4)
    assert "halves" not in registries["datasets"]


def test_evaluating_between_rounds_does_not_change_training(experiment):
    import genzoo

    def trained(every):
        torch.manual_seed(0)
        model = genzoo.build("gan", latent_dim=2, shape=(2,))
        watch = experiment("figure").Watch(
            model, every, lambda: {"training": model.training, "noise": float(torch.rand(()))}
        )
        genzoo.fit(
            model,
            torch.randn(64, 2, generator=torch.Generator().manual_seed(1)),
            steps=5,
            batch_size=16,
            **watch.settings,
        )
        return watch.seen, model

    looks, model = trained(2)
    assert [(line["step"], line["training"]) for line in looks] == [(2, False), (4, False)]
    no_looks, plain = trained(9)
    assert no_looks == []
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True)
    )
