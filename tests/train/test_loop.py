"""The training loop against hand calculations.

The tests cover players, batches, seeds, schedules, averages, and interruptions.
"""

import math
import os
import signal
from dataclasses import replace

import pytest
import torch

import genzoo
from genzoo.errors import DataError, SettingError, TrainingError
from genzoo.train.settings import Settings
from tests.games import DATA, Game, Mean


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def test_one_step_of_gradient_descent_equals_the_hand_calculation():
    model = Mean(lr=0.25)
    genzoo.fit(model, DATA, steps=1, batch_size=40)
    torch.testing.assert_close(model.w.detach(), 0.25 * DATA.mean(0))


@pytest.mark.parametrize("microbatches", [2, 4])
def test_microbatches_do_not_change_a_mean(microbatches):
    whole, parts = Mean(momentum=0.9), Mean(momentum=0.9)
    genzoo.fit(whole, DATA, steps=7, batch_size=8)
    genzoo.fit(parts, DATA, steps=7, batch_size=8, microbatches=microbatches)
    torch.testing.assert_close(whole.w, parts.w)
    assert parts.calls == 7 * microbatches


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_the_generator_gets_the_last_batch_of_a_round(n):
    model = Game(critic_steps=n)
    run = genzoo.fit(model, DATA, steps=3, batch_size=8)
    critic, generator = model.seen["critic"], model.seen["generator"]
    assert (len(critic), len(generator), run.steps) == (3 * n, 3, 3)
    for i in range(3):
        assert torch.equal(generator[i], critic[n * (i + 1) - 1])
    # 5 batches of 8 are the 40 rows
    if n >= 2:
        first_epoch = torch.cat(critic[:5])
        assert torch.equal(first_epoch.sort(0).values, DATA.sort(0).values)


def test_steps_per_round_may_be_a_function_that_returns_zero():
    model = Game()
    model.steps = lambda round: (0, 3, 1)[round]
    genzoo.fit(model, DATA, steps=3, batch_size=8)
    assert (len(model.seen["critic"]), len(model.seen["generator"])) == (4, 3)


def test_gradients_follow_ownership_and_requires_grad_is_restored():
    model = Game(critic_steps=2)
    model.critic[0].bias.requires_grad_(False)
    frozen = model.critic[0].bias.detach().clone()
    names = [name for name, _ in model.named_parameters()]
    genzoo.fit(model, DATA, steps=2, batch_size=8)
    # the bias that the author froze stays frozen; each player trains everything else that it owns
    critic = {name for name in names if name.startswith("critic.")} - {"critic.0.bias"}
    generator = {name for name in names if name.startswith("generator.")}
    assert model.gradients["critic"] == [critic] * 4
    assert model.gradients["generator"] == [generator] * 2
    assert torch.equal(model.critic[0].bias, frozen)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "critic.0.bias"
    ]


def test_a_generator_loss_leaves_no_gradient_in_the_critic():
    model = Game()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    still = replace(model.players()[0], steps_per_round=lambda round: 0)
    model.players = lambda: (still, Game.players(model)[1])
    genzoo.fit(model, DATA, steps=3, batch_size=8)
    moved = {
        name.split(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, start[name])
    }
    assert moved == {"generator"}


@pytest.mark.parametrize(
    ("players", "message"),
    [
        (
            lambda m: (m.players()[0], replace(m.players()[1], owns=(m.generator, m.critic))),
            "both own critic",
        ),
        (
            lambda m: (m.players()[0], replace(m.players()[1], name="critic")),
            "two players are named 'critic'",
        ),
        (
            lambda m: (replace(m.players()[0], steps_per_round=0), m.players()[1]),
            "a constant is at least 1",
        ),
        (lambda m: (replace(m.players()[0], owns=()), m.players()[1]), "owns no parameters"),
        (
            lambda m: (replace(m.players()[0], loss=lambda x: x.mean()), m.players()[1]),
            "scalar tensor under 'loss'",
        ),
    ],
)
def test_invalid_games_are_refused(players, message):
    model = Game()
    broken = players(model)
    model.players = lambda: broken
    with pytest.raises(TrainingError, match=message):
        genzoo.fit(model, DATA, steps=1, batch_size=8)


def test_the_seed_determines_weights_data_and_noise_and_the_callers_state_is_restored():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = genzoo.fit("test-game", DATA, steps=4, batch_size=8, seed=3).model
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    same = genzoo.fit("test-game", DATA, steps=4, batch_size=8, seed=3).model
    other = genzoo.fit("test-game", DATA, steps=4, batch_size=8, seed=4).model
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


@genzoo.models.register("test-noisy-constraint")
class NoisyConstraint(Game):
    """A game whose constraint draws noise after each step of the critic, outside of any loss."""

    def __init__(self, critic_steps: int = 1, shape: tuple[int, ...] = (2,)) -> None:
        super().__init__(critic_steps, shape)
        self.noise: list[tuple[float, float]] = []

    def players(self):
        critic, generator = super().players()
        return replace(critic, after=self._draw), generator

    def _draw(self):
        keyed = genzoo.distributed.noise(1, like=self.reference_tensor)
        self.noise.append((float(keyed), float(torch.rand(()))))


def test_the_seed_of_a_round_is_a_function_of_the_seed_and_the_round(tmp_path):
    def noise(folder=None, caller_seed=0, **settings):
        torch.manual_seed(caller_seed)
        model = NoisyConstraint(settings.pop("critic_steps", 1))
        genzoo.fit(model, DATA, folder, batch_size=8, checkpoint_every=3, **settings)
        return model.noise

    expected = noise(steps=6, seed=1)
    # every round has a different seed
    assert len(set(expected)) == 6
    assert noise(steps=6, seed=1, caller_seed=9) == expected
    # earlier rounds and draws do not matter, as in a resumed run or one with more critic steps
    assert noise(tmp_path / "run", steps=3, seed=1) == expected[:3]
    assert noise(tmp_path / "run", steps=6, seed=1, resume=True, caller_seed=9) == expected[3:]
    assert noise(steps=6, seed=1, critic_steps=3)[::3] == expected
    assert not set(noise(steps=6, seed=2)) & set(expected)


def test_schedules_and_warmup_match_closed_forms():
    # with SGD the step is lr * factor * (w - mean),
    # so w_t = mean * (1 - prod_t (1 - lr * factor_t))
    for schedule, warmup in (("linear", 0.0), ("cosine", 0.0), ("constant", 0.5)):
        model = Mean(lr=0.2)
        genzoo.fit(model, DATA, steps=8, batch_size=40, schedule=schedule, warmup=warmup)
        left = 1.0
        for t in range(8):
            rise = min(1.0, (t / 8) / warmup) if warmup else 1.0
            shape = {
                "linear": 1 - t / 8,
                "cosine": 0.02 + 0.49 * (1 + math.cos(math.pi * t / 8)),
                "constant": 1.0,
            }[schedule]
            left *= 1 - 0.2 * rise * shape
        torch.testing.assert_close(model.w.detach(), DATA.mean(0) * (1 - left))


def test_the_recipe_overrides_the_schedule_of_a_player():
    model = Mean(lr=0.2)
    halved = replace(model.players()[0], schedule=lambda t: 0.5)
    model.players = lambda: (halved,)
    genzoo.fit(model, DATA, steps=1, batch_size=40)
    torch.testing.assert_close(model.w.detach(), 0.1 * DATA.mean(0))


def test_clipping_bounds_the_norm_of_the_step():
    model = Mean(lr=1.0)
    genzoo.fit(model, 100 + DATA, steps=1, batch_size=40, clip_grad_norm=0.5)
    assert model.w.norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_averaged_weights_are_an_exponential_moving_average_with_warmup(decay):
    model = Mean(lr=0.3)
    run = genzoo.fit(model, DATA, steps=6, batch_size=40, ema=decay)
    w, average = 0.0, 0.0
    for n in range(6):
        # as a fraction of the mean
        w += 0.3 * (1.0 - w)
        factor = min(decay, (1 + n) / (10 + n)) if n else 0.0
        average = factor * average + (1 - factor) * w
    torch.testing.assert_close(run.model.w.detach(), DATA.mean(0) * average)
    torch.testing.assert_close(model.w.detach(), DATA.mean(0) * w)


def test_a_recipe_overrides_the_optimizer_of_a_player():
    model = Mean(lr=0.3)
    genzoo.fit(model, DATA, steps=1, batch_size=40, players={"mean": {"lr": 0.5}})
    torch.testing.assert_close(model.w.detach(), 0.5 * DATA.mean(0))
    for players, message in [
        ({"meen": {"lr": 0.5}}, "no player 'meen'. Did you mean 'mean'"),
        ({"mean": {"lrr": 0.5}}, "players.mean 'SGD' has no setting 'lrr'. Did you mean 'lr'"),
        ({"mean": {"name": "Adamm", "lr": 0.5}}, "no optimizer named 'Adamm'. Did you mean"),
        ({"mean": {"lr": -1.0}}, "Invalid learning rate"),
        ({"mean": {"name": "LBFGS"}}, "no optimizer named 'LBFGS'"),
    ]:
        with pytest.raises(SettingError, match=message):
            genzoo.fit(model, DATA, steps=1, batch_size=8, players=players)


def test_another_optimizer_keeps_only_the_learning_rate():
    model = Mean(lr=0.25, momentum=0.9)
    genzoo.fit(model, DATA, steps=1, batch_size=40, players={"mean": {"name": "Adam"}})
    # Adam's first step has the size of the learning rate in every coordinate
    torch.testing.assert_close(model.w.detach(), torch.full((2,), 0.25))


def test_a_non_finite_gradient_is_not_saved(tmp_path):
    class Root(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w):
            return w.sum() * 0

        @staticmethod
        def backward(ctx, grad):
            return torch.full((2,), float("nan"))

    real, calls = Mean.loss, []

    def poisoned(self, batch):
        calls.append(1)
        report = real(self, batch)
        return {"loss": report["loss"] + Root.apply(self.w)} if len(calls) == 6 else report

    Mean.loss = poisoned
    try:
        with pytest.raises(TrainingError, match=r"w is not finite after step 6.*step-000003"):
            genzoo.fit(
                "test-mean",
                DATA,
                tmp_path / "run",
                steps=6,
                batch_size=8,
                checkpoint_every=3,
                log_every=100,
            )
    finally:
        Mean.loss = real
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000003.ckpt"]


def test_a_value_error_in_a_loss_names_the_player_and_the_step():
    net = {"name": "mlp", "hidden": [4], "norm": "batch"}
    with pytest.raises(
        TrainingError, match="player 'autoencoder', step 1: Expected more than 1 value per channel"
    ):
        genzoo.fit({"name": "vae", "encoder": net, "decoder": net}, "digits", steps=1, batch_size=1)


def test_float64_data_are_exact_in_a_float64_run():
    data = torch.rand(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    model = Game()
    genzoo.fit(model, data, steps=1, batch_size=40, precision="64-true")
    assert torch.equal(model.seen["critic"][0].sort(0).values, data.sort(0).values)


def test_a_nan_names_the_player_and_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(
        TrainingError,
        match=r"player 'mean' was nan at step 6\. The last good checkpoint is .*step-000004",
    ):
        genzoo.fit(
            {"name": "test-mean", "nan_at": 6},
            DATA,
            tmp_path / "run",
            steps=20,
            batch_size=8,
            checkpoint_every=4,
            log_every=100,
        )
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000004.ckpt"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["test-game", {"name": "test-mean", "momentum": 0.9}])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_resume_is_bit_identical(tmp_path, model, ema):
    settings = {
        "batch_size": 8,
        "checkpoint_every": 3,
        "ema": ema,
        "log_every": 4,
        "precision": "32-true",
    }
    uninterrupted = genzoo.fit(model, DATA, tmp_path / "a", steps=10, **settings)
    genzoo.fit(model, DATA, tmp_path / "b", steps=5, **settings)
    resumed = genzoo.fit(model, DATA, tmp_path / "b", steps=10, resume=True, **settings)
    assert torch.equal(weights(uninterrupted.model), weights(resumed.model))
    names = ("model.safetensors", *(("model-ema.safetensors",) if ema else ()))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [line["step"] for line in uninterrupted.history] == [4, 8, 10]


@pytest.mark.slow
def test_a_run_resumed_after_an_interrupt_equals_an_uninterrupted_run(tmp_path):
    uninterrupted = genzoo.fit(
        "test-game", DATA, tmp_path / "a", steps=9, batch_size=8, checkpoint_every=100
    )
    genzoo_loss, before = Game.critic_loss, signal.getsignal(signal.SIGINT)

    def interrupting(self, x):
        if len(self.seen["critic"]) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return genzoo_loss(self, x)

    Game.critic_loss = interrupting
    try:
        with pytest.raises(
            KeyboardInterrupt, match=r"stopped at step 5 of 9; .*step-000005.*resume=True"
        ):
            genzoo.fit(
                "test-game", DATA, tmp_path / "b", steps=9, batch_size=8, checkpoint_every=100
            )
    finally:
        Game.critic_loss = genzoo_loss
    assert signal.getsignal(signal.SIGINT) is before
    resumed = genzoo.fit(
        "test-game", DATA, tmp_path / "b", steps=9, batch_size=8, checkpoint_every=100, resume=True
    )
    assert torch.equal(weights(uninterrupted.model), weights(resumed.model))
    # the checkpoint has the values that are not logged yet
    assert uninterrupted.history[-1]["critic/loss"] == resumed.history[-1]["critic/loss"]


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_every_precision_trains(precision):
    model = genzoo.fit("test-game", DATA, steps=3, batch_size=8, precision=precision).model
    expected = {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
    assert model.reference_tensor.dtype == expected
    assert bool(torch.isfinite(weights(model)).all())


@pytest.mark.slow
def test_compiled_losses_train_like_eager_losses():
    data = torch.rand(32, 6, generator=torch.Generator().manual_seed(1))
    net = {"name": "mlp", "hidden": [8]}
    table = {"name": "vae", "latent_dim": 2, "encoder": net, "decoder": net}
    eager, compiled = (
        genzoo.fit(table, data, steps=3, batch_size=16, compile=on, precision="64-true")
        for on in (False, True)
    )
    torch.testing.assert_close(weights(eager.model), weights(compiled.model), rtol=1e-6, atol=1e-8)


def test_epochs_are_converted_to_rounds_by_batches_per_round():
    assert genzoo.fit(Mean(), DATA, epochs=3, batch_size=8).steps == 15
    assert genzoo.fit(Game(critic_steps=5), DATA, epochs=3, batch_size=8).steps == 3


def test_the_schedule_of_a_player_must_take_one_argument():
    model = Mean()
    wrong = replace(model.players()[0], schedule=lambda: 1.0)
    model.players = lambda: (wrong,)
    with pytest.raises(SettingError, match=r"the schedule of player 'mean' = .*one argument"):
        genzoo.fit(model, DATA, steps=1, batch_size=8)


def test_only_a_class_method_counts_as_a_closed_form():
    model = Mean(lr=0.25)
    model.solve = torch.nn.Linear(2, 2)
    run = genzoo.fit(model, DATA, steps=2, batch_size=40)
    assert run.steps == 2
    torch.testing.assert_close(model.w.detach(), DATA.mean(0) * (1 - 0.75**2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stesp": 3}, "train has no setting 'stesp'. Did you mean 'steps'"),
        ({"steps": 0}, "train.steps = 0: expected greater than 0"),
        ({"steps": "many"}, 'train.steps = "many": expected an integer'),
        ({"steps": 3, "epochs": 2.0}, "give one of them"),
        ({"ema": 1.0}, "train.ema = 1.0: expected less than 1"),
        ({"schedule": "cosin"}, "expected 'constant', 'linear' or 'cosine'"),
        (
            {"schedule": lambda: 1.0},
            r"train\.schedule = .*<lambda>\(\): it cannot be called with one argument.*lambda t:",
        ),
        (
            {"players": {"mean": {"schedule": lambda t, u: 1.0}}},
            r"players\.mean\.schedule = .*<lambda>\(t, u\): it cannot be called with one argument",
        ),
        ({"precision": "half"}, "train.precision"),
        ({"precision": "16-mixed", "device": "cpu"}, "a CPU has no half precision"),
        ({"device": "tpu"}, 'device = "tpu"'),
        ({"batch_size": 9, "microbatches": 2}, "expected a multiple of microbatches"),
    ],
)
def test_invalid_settings_are_named(settings, message):
    with pytest.raises(SettingError, match=message):
        genzoo.fit("test-mean", DATA, **settings)


def test_a_model_checks_one_microbatch_before_anything_is_written(tmp_path):
    seen = []

    class Wary(Mean):
        def check_batch(self, batch):
            seen.append(len(batch))
            if batch.max() > 1:
                raise DataError("more than 1")

    genzoo.fit(Wary(), DATA, steps=3, batch_size=8, microbatches=2)
    assert seen == [4]
    with pytest.raises(DataError, match="more than 1"):
        genzoo.fit(Wary(), 2 + DATA, tmp_path / "run", steps=3, batch_size=8)
    assert not (tmp_path / "run").exists()


def test_data_of_a_wrong_shape_are_refused():
    with pytest.raises(DataError, match="batch"):
        genzoo.fit("test-mean", DATA, steps=1, batch_size=41)
    with pytest.raises(SettingError, match=r"has shape \(3,\), but the data have \(2,\)"):
        genzoo.fit(Mean(shape=(3,)), DATA, steps=1, batch_size=8)
    bad = DATA.clone()
    bad[7, 1] = float("nan")
    with pytest.raises(DataError, match="row 7"):
        genzoo.fit("test-mean", bad, steps=1, batch_size=8)
    with pytest.raises(SettingError, match=r"not a genzoo\.Model"):
        genzoo.fit(torch.nn.Linear(2, 2), DATA, steps=1)


def test_a_round_may_read_the_data_several_times_but_needs_a_full_batch():
    model = Game(critic_steps=5)
    genzoo.fit(model, DATA[:10], steps=2, batch_size=8)
    assert len(model.seen["critic"]) == 10
    with pytest.raises(
        DataError,
        match=r"train has 10 rows \(x\), too few for one batch: "
        r"lower batch_size = 11 to 10 or less",
    ):
        genzoo.fit(model, DATA[:10], steps=2, batch_size=11)


@pytest.mark.parametrize("settings", [{}, {"clip_grad_norm": 0.01}, {"microbatches": 4}])
def test_gradient_norms_are_those_of_the_last_step_before_clipping(settings):
    # the second step of each round;
    # w_t = mean * (1 - (1 - lr)^t), whose gradient is mean * (1 - lr)^t
    model = Mean(lr=0.25)
    twice = replace(model.players()[0], steps_per_round=lambda _: 2)
    model.players = lambda: (twice,)
    run = genzoo.fit(
        model, DATA, steps=3, batch_size=40, log_every=2, gradient_norms=True, **settings
    )
    norms = {line["step"]: line["gradient/w"] for line in run.history}
    length = DATA.mean(0).norm().item()
    # with clipping, each step is 0.25 * 0.01 long
    if "clip_grad_norm" in settings:
        assert norms == pytest.approx({2: length - 3 * 0.0025, 3: length - 5 * 0.0025}, rel=1e-4)
    else:
        assert norms == pytest.approx({2: length * 0.75**3, 3: length * 0.75**5}, rel=1e-4)


@pytest.mark.slow
def test_logging_gradient_norms_does_not_change_training(tmp_path):
    plain = genzoo.fit("test-game", DATA, steps=4, batch_size=8, log_every=2)
    with_norms = genzoo.fit(
        "test-game", DATA, tmp_path / "run", steps=4, batch_size=8, log_every=2, gradient_norms=True
    )
    assert torch.equal(weights(plain.model), weights(with_norms.model))
    names = {f"gradient/{name}" for name, _ in plain.model.named_parameters()}
    for quiet, line in zip(plain.history, with_norms.history, strict=True):
        assert line.keys() - quiet.keys() == names
        assert all(line[name] > 0 for name in names)
    assert (tmp_path / "run" / "curves.png").exists()


@pytest.mark.slow
def test_each_diagnosis_is_shown_once_and_again_after_a_resume(tmp_path, monkeypatch):
    def texts(warned):
        messages = [str(warning.message) for warning in warned]
        return [message for message in messages if message.startswith("step")]

    def diagnose(self, line, progress):
        # this noise must not change the noise of the losses
        torch.rand(3)
        if line["step"] == 1:
            return None
        if progress < 0.6:
            return "early"
        return "late" if line["generator/loss"] > 0 else "never"

    uninterrupted = genzoo.fit("test-game", DATA, steps=10, batch_size=8)
    monkeypatch.setattr(Game, "diagnose", diagnose)
    with pytest.warns(UserWarning, match="^step") as warned:
        genzoo.fit("test-game", DATA, tmp_path / "run", steps=8, batch_size=8, log_every=1)
    assert texts(warned) == ["step 2: early", "step 5: late"]
    with pytest.warns(UserWarning, match="^step") as warned:
        run = genzoo.fit(
            "test-game", DATA, tmp_path / "run", steps=10, batch_size=8, log_every=1, resume=True
        )
    assert texts(warned) == ["step 9: late"]
    assert torch.equal(weights(uninterrupted.model), weights(run.model))


@pytest.mark.slow
@pytest.mark.figures
def test_pictures_call_the_critic_in_eval_mode_and_without_gradients(tmp_path, monkeypatch):
    asked = []

    def score(self, x):
        asked.append((self.training, torch.is_grad_enabled(), tuple(x.shape[1:]), x.dtype))
        return self.critic(x).squeeze(1)

    with monkeypatch.context() as patch:
        patch.setattr(Game, "score", score, raising=False)
        without_pictures = genzoo.fit(
            "test-game",
            DATA,
            tmp_path / "a",
            steps=4,
            batch_size=8,
            sample_every=2,
            precision="64-true",
        )
    # at the start, in the middle, and at the end
    assert asked == [(False, False, (2,), torch.float64)] * 3
    plain = genzoo.fit(
        "test-game",
        DATA,
        tmp_path / "b",
        steps=4,
        batch_size=8,
        sample_every=2,
        precision="64-true",
    )
    assert torch.equal(weights(without_pictures.model), weights(plain.model))
    sheet = "samples/step-000002.png"
    assert (tmp_path / "a" / sheet).read_bytes() != (tmp_path / "b" / sheet).read_bytes()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LT_STRATEGY", "fsdp", "LT_STRATEGY = 'fsdp': .* a gradient penalty needs whole weights"),
        ("LT_STRATEGY", "deepspeed_stage_3", "LT_STRATEGY = 'deepspeed_stage_3'"),
        (
            "LT_PRECISION",
            "bf16-mixed",
            "LT_PRECISION = 'bf16-mixed', and train.precision = '32-true'",
        ),
    ],
)
def test_conflicting_fabric_environment_variables_are_refused(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=message):
        genzoo.fit("test-mean", DATA, steps=1, batch_size=8)


def test_consistent_fabric_environment_variables_are_allowed(monkeypatch):
    monkeypatch.setenv("LT_STRATEGY", "auto")
    monkeypatch.setenv("LT_PRECISION", "64-true")
    assert (
        genzoo.fit(
            "test-mean", DATA, steps=1, batch_size=8, precision="64-true"
        ).model.reference_tensor.dtype
        == torch.float64
    )


def test_every_setting_is_documented():
    for name in Settings.__dataclass_fields__:
        assert f"        {name}: " in Settings.__doc__
