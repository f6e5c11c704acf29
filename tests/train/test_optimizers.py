"""Optimizers from tables, against optimizers of torch built by hand; schedules from Python."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo import Model, Player
from genzoo.errors import RunError, SettingError, TrainingError

DATA = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))
WHOLE = {"batch_size": 32, "steps": 5}


@genzoo.models.register("test-groups")
class Groups(Model):
    def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        self.shape = shape
        self.encoder, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
        self.decoder = nn.Linear(4, 3)

    def players(self) -> tuple[Player, ...]:
        return (
            Player(
                name="autoencoder",
                owns=(self,),
                loss=self.loss,
                optimizer={"name": "AdamW", "lr": 0.01},
            ),
        )

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        return {"loss": (self.decoder(self.norm(self.encoder(batch))) - batch).square().mean()}

    @torch.no_grad()
    def sample(self, n: int, given: None = None) -> Tensor:
        return self.decoder(torch.zeros(n, 4))


def by_hand(optimizer, steps=5, factor=lambda t: 1.0, seed=0):
    """Train by an optimizer of torch on the whole data; return the weights."""
    torch.manual_seed(seed)
    model = Groups()
    moves = optimizer(model)
    rates = [group["lr"] for group in moves.param_groups]
    for step in range(steps):
        for group, rate in zip(moves.param_groups, rates, strict=True):
            group["lr"] = rate * factor(step / steps)
        moves.zero_grad()
        model.loss(DATA)["loss"].backward()
        moves.step()
    return model.state_dict()


def trained(table, seed=0, **settings):
    torch.manual_seed(seed)
    model = Groups()
    genzoo.fit(model, DATA, players={"autoencoder": table}, **{**WHOLE, **settings})
    return model.state_dict()


def close(left, right):
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=1e-4, atol=1e-6)


def test_a_schedule_multiplies_the_rate_of_each_group():
    def optimizer(m):
        encoder, rest = [*m.encoder.parameters()], [*m.norm.parameters(), *m.decoder.parameters()]
        return torch.optim.AdamW(
            [{"params": rest}, {"params": encoder, "lr": 0.1, "betas": (0.5, 0.9)}], lr=0.01
        )

    table = {"groups": [{"params": "encoder.*", "lr": 0.1, "betas": [0.5, 0.9]}]}
    close(trained(table), by_hand(optimizer))
    close(trained(table, schedule="linear"), by_hand(optimizer, factor=lambda t: 1 - t))


def test_no_decay_excludes_biases_and_norms():
    def optimizer(m):
        matrices = [m.encoder.weight, m.decoder.weight]
        flat = [m.encoder.bias, *m.norm.parameters(), m.decoder.bias]
        groups = [{"params": matrices, "weight_decay": 0.5}, {"params": flat, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.01)

    close(trained({"weight_decay": 0.5, "no_decay": True}), by_hand(optimizer))


def test_the_first_matching_group_takes_a_parameter_and_frozen_ones_are_excluded():
    def optimizer(m):
        groups = [
            {"params": [m.norm.weight, m.norm.bias]},
            {"params": [m.encoder.bias, m.decoder.bias], "lr": 0.0},
            {"params": [m.decoder.weight], "lr": 0.05},
        ]
        return torch.optim.SGD(groups, lr=0.02)

    groups = [
        {"params": ["*coder.bias"], "lr": 0.0},
        {"params": ["decoder.*", "encoder.bias"], "lr": 0.05},
        {"params": "encoder.w*"},
    ]
    state = trained({"name": "SGD", "lr": 0.02, "groups": groups}, freeze=["encoder.weight"])
    close(state, by_hand(optimizer))


@pytest.mark.slow
def test_a_run_with_groups_resumes_exactly(tmp_path):
    table = {
        "autoencoder": {
            "no_decay": True,
            "groups": [{"params": ["encoder.*"], "lr": 0.1}],
            "schedule": "cosine",
        }
    }
    settings = {"batch_size": 8, "checkpoint_every": 2, "players": table, "schedule": "linear"}
    whole = genzoo.fit(
        "test-groups", DATA, tmp_path / "whole", steps=5, **settings
    ).model.state_dict()

    calls = []

    class StoppedError(Exception):
        pass

    def stops(self, batch):
        calls.append(1)
        if len(calls) == 4:
            raise StoppedError
        return loss(self, batch)

    loss, Groups.loss = Groups.loss, stops
    try:
        with pytest.raises(StoppedError):
            genzoo.fit("test-groups", DATA, tmp_path / "run", steps=5, **settings)
    finally:
        Groups.loss = loss
    run = genzoo.fit("test-groups", DATA, tmp_path / "run", steps=5, resume=True, **settings)
    assert all(torch.equal(value, whole[name]) for name, value in run.model.state_dict().items())
    table["autoencoder"]["groups"][0]["lr"] = 0.2
    with pytest.raises(RunError, match=r"players.autoencoder.groups was"):
        genzoo.fit("test-groups", DATA, tmp_path / "run", steps=6, resume=True, **settings)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"params": "encoder.*"},
            r"players.autoencoder.params = 'encoder.\*': a player updates all parameters .*"
            r"groups = \[.*train.freeze",
        ),
        ({"weight_dcay": 0.1}, "no setting 'weight_dcay'. Did you mean 'weight_decay'"),
        ({"group": []}, "no setting 'group'. Did you mean 'groups'"),
        ({"nodecay": True}, "no setting 'nodecay'. Did you mean 'no_decay'"),
        ({"shedule": "linear"}, "no setting 'shedule'. Did you mean 'schedule'"),
        ({"schedule": "liner"}, 'players.autoencoder.schedule = "liner": expected .*linear'),
        ({"no_decay": "biases"}, "no_decay = 'biases': expected true or false"),
        ({"name": "Rprop", "no_decay": True}, "no_decay: Rprop has no weight_decay"),
        ({"lr": float("inf")}, "lr = inf: expected a finite number"),
        ({"groups": {"params": "encoder.*"}}, "groups = .*expected a list"),
        ({"groups": ["encoder.*"]}, r"groups\[0\] = 'encoder.\*': expected a table"),
        ({"groups": [{"lr": 0.1}]}, r"groups\[0\].params = None: expected a pattern"),
        (
            {"groups": [{"params": "encodr.*"}]},
            r"groups\[0\]: no parameter .*'encodr.\*'. Did you mean 'encoder.\*'",
        ),
        (
            {"groups": [{"params": "*"}, {"params": "norm.*"}]},
            r"groups\[1\]: earlier groups take all",
        ),
        ({"groups": [{"params": "*", "rate": 1.0}]}, r"groups\[0\] has no setting 'rate'"),
        ({"groups": [{"params": "*", "fused": True}]}, r"groups\[0\] has no setting 'fused'"),
        ({"groups": [{"params": "norm.*", "lr": -1.0}]}, "Invalid learning rate: -1"),
        ({"groups": [{"params": "norm.*", "lr": "high"}]}, r'groups\[0\].lr = "high": expected'),
    ],
)
def test_invalid_tables_are_refused_by_name(table, message):
    with pytest.raises(SettingError, match=message):
        genzoo.fit("test-groups", DATA, players={"autoencoder": table}, **WHOLE)


def half(t: float) -> float:
    return 0.5 * (1 - t)


def test_a_schedule_may_be_a_function_for_all_players_or_for_one():
    expected = by_hand(lambda m: torch.optim.AdamW(m.parameters(), lr=0.01), factor=half)
    close(trained({}, schedule=half), expected)
    close(trained({"schedule": half}, schedule="cosine"), expected)


@pytest.mark.slow
def test_a_run_with_a_schedule_function_resumes_only_with_the_same_function(tmp_path):
    settings = {"batch_size": 8, "checkpoint_every": 2}
    whole = genzoo.fit(
        "test-groups", DATA, steps=4, schedule=lambda t: 1.0, **settings
    ).model.state_dict()
    # the factor does not depend on the number of steps, so the halves agree with the whole
    first = genzoo.fit(
        "test-groups", DATA, tmp_path / "run", steps=2, schedule=lambda t: 1.0, **settings
    )
    again = {"resume": True, "steps": 4, **settings}
    for other in (lambda t: 0.5, "linear", None):
        with pytest.raises(RunError, match=r"train.schedule was 'callable .*<lambda>: 1, 1"):
            genzoo.fit("test-groups", DATA, first.folder, schedule=other, **again)
    recipe = genzoo.runs.folder.RunFolder(first.folder).recipe()
    with pytest.raises(SettingError, match=r"Python function.*resume=True, schedule=function"):
        genzoo.fit(
            recipe["model"], DATA, first.folder, **{**recipe["train"], "steps": 4}, resume=True
        )
    run = genzoo.fit("test-groups", DATA, first.folder, schedule=lambda t: 1.0, **again)
    assert all(torch.equal(value, whole[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), -0.1, float("inf"), None, "fast"])
def test_a_schedule_that_returns_an_invalid_factor_is_refused(tmp_path, value):
    with pytest.raises(
        TrainingError,
        match=r"train.schedule returned .* after 0 of training; expected a finite factor",
    ):
        genzoo.fit("test-groups", DATA, tmp_path / "run", schedule=lambda t: value, **WHOLE)
    with pytest.raises(TrainingError, match=r"players.autoencoder.schedule returned"):
        trained({"schedule": lambda t: value})
    assert not (tmp_path / "run").exists()


def test_the_schedule_of_a_model_is_checked_at_each_step():
    model = Groups()
    player = Player(
        name="autoencoder", owns=(model,), loss=model.loss, schedule=lambda t: 1 - 2 * t
    )
    model.players = lambda: (player,)
    with pytest.raises(
        TrainingError,
        match=r"schedule of player 'autoencoder' returned -0.[12]\d* after 0.6 of training",
    ):
        genzoo.fit(model, DATA, **WHOLE)
