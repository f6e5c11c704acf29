"""Players that share parameters and take turns.

The tests cover which players may share, which parameters move, the log, checkpoints, and rounds.
"""

from dataclasses import replace

import pytest
import torch

import genzoo
from genzoo.errors import SettingError, TrainingError
from genzoo.testing import check_model
from genzoo.train.settings import Settings
from tests.games import DATA, Game, Phases


def test_two_phases_equal_the_hand_calculation():
    # a step of gradient descent leaves 1 - lr of the distance:
    # 0.5 in three rounds, then 0.75 in two
    model = Phases(until=3)
    genzoo.fit(model, DATA, steps=5, batch_size=40)
    torch.testing.assert_close(model.first.w.detach(), DATA.mean(0) * (1 - 0.5**3 * 0.75**2))
    torch.testing.assert_close(model.second.w.detach(), DATA.mean(0) * (1 - 0.75**2))
    assert model.gradients == [(True, False)] * 3 + [(True, True)] * 2
    assert all(p.requires_grad for p in model.parameters())


def test_players_may_alternate():
    model = Phases()
    early, late = model.players()
    model.players = lambda: (
        replace(early, steps_per_round=lambda r: r % 2),
        replace(late, steps_per_round=lambda r: 1 - r % 2),
    )
    genzoo.fit(model, DATA, steps=4, batch_size=40)
    assert model.gradients == [(True, True), (True, False)] * 2


@pytest.mark.parametrize(
    ("steps", "round"),
    [
        ((lambda r: r < 4, lambda r: r >= 2), 2),
        ((1, lambda r: r // 3), 3),
        ((lambda r: r // 5, 1), 5),
    ],
)
def test_players_that_share_parameters_cannot_play_in_the_same_round(steps, round):
    model = Phases()
    players = [
        replace(player, steps_per_round=steps_per_round)
        for player, steps_per_round in zip(model.players(), steps, strict=True)
    ]
    model.players = lambda: players
    with pytest.raises(
        TrainingError,
        match=f"'pretraining' and 'joint' both own first.w and both play in round {round};",
    ):
        genzoo.fit(model, DATA, steps=8, batch_size=8)
    assert len(model.gradients) == round


def test_players_with_constant_steps_cannot_share_parameters(tmp_path):
    model = Phases()
    players = [replace(player, steps_per_round=1) for player in model.players()]
    model.players = lambda: players
    with pytest.raises(
        TrainingError,
        match=r"'pretraining' and 'joint' both own first\.w; a parameter has one owner",
    ):
        genzoo.fit(model, DATA, tmp_path / "run", steps=8, batch_size=8)
    assert not (tmp_path / "run").exists()


def test_the_log_has_values_of_the_active_players_only():
    lines = genzoo.fit("test-phases", DATA, steps=6, batch_size=8, log_every=2).history
    names = [{name for name in line if "/" in name} for line in lines]
    first, second = ({f"{name}/loss", f"{name}/lr"} for name in ("pretraining", "joint"))
    assert names == [first, first | second, second]


def test_a_round_without_steps_reads_no_data(tmp_path):
    run = genzoo.fit(
        {"name": "test-phases", "until": 1, "after": 3},
        DATA,
        tmp_path / "run",
        steps=4,
        batch_size=40,
        log_every=1,
    )
    assert [("pretraining/loss" in line, "joint/loss" in line) for line in run.history] == [
        (True, False), (False, False), (False, False), (False, True),
    ]  # fmt: skip
    torch.testing.assert_close(run.model.first.w.detach(), DATA.mean(0) * (1 - 0.5 * 0.75))
    assert (
        torch.load(tmp_path / "run" / "checkpoints" / "step-000004.ckpt", weights_only=True)[
            "batches"
        ]
        == 2
    )


@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 3, 4])
@pytest.mark.parametrize("log", [1, 4])
def test_a_resume_in_any_phase_is_bit_identical(tmp_path, stop, log):
    settings = {
        "batch_size": 8,
        "checkpoint_every": 1,
        "log_every": log,
        "ema": 0.9,
        "players": {"joint": {"name": "Adam"}},
    }
    uninterrupted = genzoo.fit("test-phases", DATA, tmp_path / "a", steps=8, **settings)
    genzoo.fit("test-phases", DATA, tmp_path / "b", steps=stop, **settings)
    genzoo.fit("test-phases", DATA, tmp_path / "b", steps=8, resume=True, **settings)
    for name in ("model.safetensors", "model-ema.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert uninterrupted.steps == 8


def test_the_conformance_suite_accepts_phases():
    assert all(result.ok for result in check_model(Phases, shapes=[(2,)]))


@pytest.mark.parametrize(
    ("epochs", "steps", "rounds"),
    [
        # 15 batches: 5, 5, then 1 per round
        (3, lambda r: 5 if r < 2 else 1, 7),
        # 1, 1, 5, 5, 5: 17 batches are enough, and 12 are not
        (3, lambda r: 1 if r < 2 else 5, 5),
        (2.1, lambda r: 2, 6),
        (0.01, 5, 1),
    ],
)
def test_epochs_count_the_batches_of_each_round(epochs, steps, rounds):
    model = Game()
    model.steps = steps
    assert genzoo.fit(model, DATA, epochs=epochs, batch_size=8).steps == rounds


def test_epochs_are_not_rounded_up_by_floating_point_error():
    # 1.1 * 10 > 11 in floating point
    assert Settings(epochs=1.1).total(10, lambda _: 1) == 11
    assert (
        Settings(epochs=100).total(468, lambda r: 100 if r < 25 else 5) == 25 + (46800 - 2500) // 5
    )


def test_unreachable_epochs_are_refused():
    model = Phases()
    players = [replace(player, steps_per_round=lambda r: r < 3) for player in model.players()[:1]]
    model.players = lambda: players
    with pytest.raises(
        SettingError,
        match=r"train\.epochs = 2 is never reached: no player makes a step in 100,000 rounds",
    ):
        genzoo.fit(model, DATA, epochs=2, batch_size=8)


@pytest.mark.slow
def test_epochs_must_be_finite():
    for epochs in (float("inf"), float("nan")):
        with pytest.raises(
            SettingError, match=r"train\.epochs = (inf|nan): expected a finite number"
        ):
            Settings.of({"epochs": epochs})
    with pytest.raises(
        SettingError,
        match=r"train\.epochs = 1e\+12 takes more than 10,000,000 steps.*give train\.steps",
    ):
        Settings(epochs=1e12).total(10, lambda _: 1)
