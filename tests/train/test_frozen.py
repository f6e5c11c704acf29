"""Frozen parameters: patterns, parts that stay in eval mode, and players that are skipped."""

import warnings
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo import Model, Player
from genzoo.errors import RunError, SettingError, TrainingError
from tests.games import Game

DATA = torch.rand(48, 3, generator=torch.Generator().manual_seed(0)) + 2
FAST = {"batch_size": 16}


@genzoo.models.register("test-two-parts")
class TwoParts(Model):
    """Two parts with batch norm, dropout, and layers without parameters; it records their modes."""

    def __init__(self, shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        self.shape = shape
        self.first, self.second = self._part(), self._part()
        self.modes: set[tuple[bool, ...]] = set()

    def _part(self) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(3, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False), nn.Dropout(0.5)
        )

    def loss(self, batch: Tensor) -> Mapping[str, Tensor]:
        self.modes.add(
            tuple(module.training for part in (self.first, self.second) for module in part)
        )
        return {"loss": (self.second(self.first(batch)) - batch).square().mean()}

    @torch.no_grad()
    def sample(self, n: int, given: None = None) -> Tensor:
        return self.second(self.first(torch.zeros(n, 3)))


def state(model, part="first"):
    return {key: value.clone() for key, value in model.state_dict().items() if key.startswith(part)}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.slow
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_frozen_part_stays_in_eval_mode_and_is_unchanged(tmp_path, ema):
    model = TwoParts()
    model.first.requires_grad_(False)
    before, other = state(model), state(model, "second")
    settings = {**FAST, "ema": ema, "sample_every": 1, "checkpoint_every": 2}
    # pictures are drawn after every step
    run = genzoo.fit(model, DATA, tmp_path / "run", steps=4, **settings)
    run = genzoo.fit(model, DATA, tmp_path / "run", steps=8, resume=True, **settings)
    assert model.modes == {(False,) * 4 + (True,) * 4}
    for net in (model, run.model, genzoo.load(run.folder)):
        assert same(state(net), before)
        assert not same(state(net, "second"), other)


def test_only_fully_frozen_modules_of_a_part_stay_in_eval_mode():
    model = TwoParts()
    model.first[1].requires_grad_(False)
    genzoo.fit(model, DATA, steps=2, **FAST)
    assert model.modes == {(True, False, True, True) + (True,) * 4}


def test_parts_without_parameters_follow_their_parent_module():
    model = TwoParts()
    model.second = nn.Sequential(
        nn.Dropout(0.5), nn.BatchNorm1d(3, affine=False), nn.Identity(), nn.Identity()
    )
    genzoo.fit(model, DATA, steps=2, **FAST)
    assert model.modes == {(True,) * 8}


@pytest.mark.parametrize("frozen", ["critic", "generator"])
def test_a_frozen_player_is_skipped_with_one_warning(frozen):
    other = {"critic": "generator", "generator": "critic"}[frozen]
    model = Game(critic_steps=3)
    getattr(model, frozen).requires_grad_(False)
    before = {part: state(model, part) for part in ("critic", "generator")}
    with pytest.warns(UserWarning, match=f"skipping player '{frozen}'") as caught:
        run = genzoo.fit(model, DATA[:, :2], steps=4, log_every=1, ema=0.9, **FAST)
    assert len([w for w in caught if "skipping" in str(w.message)]) == 1
    assert not model.seen[frozen]
    assert len(model.seen[other]) == 4 * (3 if other == "critic" else 1)
    for net in (model, run.model):
        assert same(state(net, frozen), before[frozen])
        assert not same(state(net, other), before[other])
    assert f"{other}/loss" in run.history[-1]
    assert not any(key.startswith(f"{frozen}/") for key in run.history[-1])


def test_a_frozen_player_equals_a_player_without_steps():
    one, two = Game(), Game()
    two.load_state_dict(one.state_dict())
    one.critic.requires_grad_(False)
    critic, generator = Game.players(two)
    players = (
        Player(
            name=critic.name, owns=critic.owns, loss=critic.loss, steps_per_round=lambda round: 0
        ),
        generator,
    )
    two.players = lambda: players
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in (one, two):
            genzoo.fit(model, DATA[:, :2], steps=3, **FAST)
    assert same(one.state_dict(), two.state_dict())


def test_a_wgan_does_not_clip_a_frozen_layer():
    net = {"name": "mlp", "hidden": [4]}
    model = genzoo.build(
        {"name": "wgan", "critic": net, "generator": net, "clip": 1e-3}, shape=(3,)
    )
    layer = next(module for module in model.critic.modules() if isinstance(module, nn.Linear))
    layer.requires_grad_(False)
    before = layer.weight.clone()
    genzoo.fit(model, DATA, steps=2, **FAST)
    assert torch.equal(layer.weight, before)
    assert max(p.abs().max() for p in model.critic.parameters() if p.requires_grad) <= 1e-3


def test_nothing_left_to_train_is_an_error():
    with pytest.raises(
        TrainingError, match=r"all parameters of TwoParts are frozen.*requires_grad_\(True\)"
    ):
        genzoo.fit(TwoParts().requires_grad_(False), DATA, steps=1, **FAST)
    with pytest.raises(TrainingError, match=r"all parameters of TwoParts are frozen.*train.freeze"):
        genzoo.fit("test-two-parts", DATA, steps=1, freeze=["first.*", "second.*"], **FAST)


@pytest.mark.slow
@pytest.mark.parametrize("ema", [None, 0.9])
def test_patterns_freeze_during_the_run_only(tmp_path, ema):
    model = TwoParts()
    # the caller freezes the bias, and it stays frozen
    model.second[0].bias.requires_grad_(False)
    before, bias = state(model), model.second[0].bias.clone()
    run = genzoo.fit(model, DATA, tmp_path / "run", steps=3, freeze=["first.*"], ema=ema, **FAST)
    for net in (model, run.model):
        assert same(state(net), before)
        assert torch.equal(net.second[0].bias, bias)
        assert [name for name, p in net.named_parameters() if not p.requires_grad] == [
            "second.0.bias"
        ]
    assert model.modes == {(False,) * 4 + (True,) * 4}
    # the recipe has the parameters that the caller froze, so that it repeats the run
    assert 'freeze = ["first.*", "second.0.bias"]' in (run.folder / "recipe.toml").read_text()


def test_parameters_are_unfrozen_after_an_error():
    model = TwoParts()
    with pytest.raises(SettingError, match="no setting 'lrr'"):
        genzoo.fit(
            model, DATA, steps=1, freeze=["first.*"], players={"model": {"lrr": 1.0}}, **FAST
        )
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ["frist.*"],
            r"train.freeze: no parameter of TwoParts matches 'frist.\*'. Did you mean 'first.\*'",
        ),
        (["first"], r"no parameter of TwoParts matches 'first'. Did you mean 'first"),
        (["first.*", "second.0.weigth"], "'second.0.weigth'. Did you mean 'second.0.weight'"),
        ("first.*", r'train.freeze = "first.\*": expected a tuple'),
        ([1], "train.freeze = .*expected a string"),
    ],
)
def test_patterns_that_match_nothing_are_refused(patterns, message):
    with pytest.raises(SettingError, match=message):
        genzoo.fit("test-two-parts", DATA, steps=1, freeze=patterns, **FAST)


@pytest.mark.slow
def test_a_resume_freezes_the_same_parameters(tmp_path):
    settings = {**FAST, "checkpoint_every": 2}
    whole = genzoo.fit(
        "test-two-parts", DATA, tmp_path / "whole", steps=4, freeze=["first.*"], **settings
    )
    genzoo.fit("test-two-parts", DATA, tmp_path / "run", steps=2, freeze=["first.*"], **settings)
    with pytest.raises(RunError, match=r"train.freeze was .*first"):
        genzoo.fit("test-two-parts", DATA, tmp_path / "run", steps=4, resume=True, **settings)
    run = genzoo.fit(
        "test-two-parts",
        DATA,
        tmp_path / "run",
        steps=4,
        resume=True,
        freeze=["first.*"],
        **settings,
    )
    assert same(state(run.model, ""), state(whole.model, ""))


@pytest.mark.slow
def test_a_resume_with_other_frozen_parameters_of_an_instance_is_refused(tmp_path):
    model = TwoParts()
    model.first[0].bias.requires_grad_(False)
    genzoo.fit(model, DATA, tmp_path / "run", steps=2, **FAST)
    model.first[0].bias.requires_grad_(True)
    with pytest.raises(RunError, match=r"train.freeze was \['first.0.bias'\], now \(\)"):
        genzoo.fit(model, DATA, tmp_path / "run", steps=4, resume=True, **FAST)


def test_a_closed_form_does_not_change_frozen_parameters():
    bits = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    run = genzoo.fit({"name": "markov", "smoothing": 0}, bits, batch_size=2, freeze=["after_one"])
    assert torch.equal(run.model.after_one, torch.zeros(1))
    torch.testing.assert_close(run.model.after_zero[0].sigmoid(), torch.tensor(0.75))
