"""A training loop written by hand, with nothing but torch and the players of a model."""

import copy

import pytest
import torch

import genzoo
from genzoo.cli.app import main
from genzoo.plots import sheet

SMALL = {"name": "mlp", "hidden": (8,)}


def train(model, x, rounds, **optimizer):
    """Train a model by hand, as the page of the loop shows, with all rows as each batch."""
    players = model.players()
    optimizers = [torch.optim.Adam(player.parameters(), **optimizer) for player in players]
    for round in range(rounds):
        for player, adam in zip(players, optimizers, strict=True):
            steps = player.steps_per_round
            for _ in range(steps(round) if callable(steps) else steps):
                adam.zero_grad()
                player.loss(x)["loss"].backward()
                adam.step()
                if player.after is not None:
                    with torch.no_grad():
                        player.after()
    return model


def test_the_loop_gives_the_weights_of_fit():
    """With all rows in each batch and a loss without noise, the two differ by rounding only."""
    x = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    model = genzoo.build("rnade", shape=(3,), hidden=4, components=2)
    twin = copy.deepcopy(model)
    train(model, x, rounds=4, lr=1e-3)
    run = genzoo.fit(twin, x, steps=4, batch_size=32, schedule="constant", progress=False)
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("name", ["gan", "wgan", "wgan-gp", "wae-gan", "wae-mmd", "vae"])
def test_the_loop_moves_the_parameters_of_all_players(name):
    torch.manual_seed(0)
    parts = ("encoder", "decoder") if name in ("wae-mmd", "vae") else ("generator", "critic")
    if name == "wae-gan":
        parts = ("encoder", "decoder")
    model = genzoo.build({"name": name, "latent_dim": 2, **dict.fromkeys(parts, SMALL)}, shape=(3,))
    before = copy.deepcopy(model.state_dict())
    train(model, torch.randn(16, 3), rounds=2, lr=1e-2)
    for player in model.players():
        owned = {id(parameter) for parameter in player.parameters()}
        names = [key for key, value in model.named_parameters() if id(value) in owned]
        moved = [not torch.equal(before[key], model.state_dict()[key]) for key in names]
        assert any(moved), player.name
    assert model.eval().sample(5).isfinite().all()


def test_genzoo_sample_writes_the_sheet(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = genzoo.build("wae-mmd", latent_dim=2, encoder=SMALL, decoder=SMALL, shape=(1, 8, 8))
    train(model, torch.rand(16, 1, 8, 8), rounds=1, lr=1e-3)
    folder = genzoo.save(model.eval(), tmp_path / "run")
    ours, expected = tmp_path / "ours.png", tmp_path / "expected.png"
    arguments = ["genzoo", "sample", str(folder), "-n", "9", "--seed", "4", "-o", str(ours)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    trained = genzoo.load(folder)
    torch.manual_seed(4)
    sheet(trained.sample(9)).save(expected)
    assert ours.read_bytes() == expected.read_bytes()
