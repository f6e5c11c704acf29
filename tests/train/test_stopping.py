"""Signals stop a run at the end of a step and lose nothing; ignored signals stay ignored."""

import re
import signal
import threading

import pytest
import torch

import genzoo
from genzoo.models.vae import VAE
from genzoo.registry.lookup import registry
from genzoo.registry.plugin_files import load_file
from genzoo.train.stopping import Stopped, stop_signals
from tests.games import Mean
from tests.train.test_kill import DATA

FAST = {"batch_size": 16, "progress": False}
VAE_TABLE = {
    "name": "vae",
    "latent_dim": 2,
    "encoder": {"name": "mlp", "hidden": [8]},
    "decoder": {"name": "mlp", "hidden": [8]},
}


@pytest.fixture(autouse=True)
def signals():
    """Restore the signal handlers after a test."""
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Raising(Mean):
    """A model that raises signals in the middle of step 3."""

    numbers: tuple[int, ...] = (signal.SIGINT,)

    def __init__(self, shape: tuple[int, ...] = (2,)) -> None:
        super().__init__(shape=shape)
        self.losses = 0

    def loss(self, batch):
        self.losses += 1
        if self.losses == 3:
            for number in self.numbers:
                signal.raise_signal(number)
        return super().loss(batch)


def raising(*numbers: int) -> Raising:
    model = Raising()
    model.numbers = numbers
    return model


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_exception_holds_the_model_trained_so_far(number, ema):
    with pytest.raises(
        KeyboardInterrupt,
        match=r"stopped at step 3 of 9.*stop\.run\.model.*sys\.last_value\.run\.model",
    ) as stop:
        genzoo.fit(raising(number), DATA, steps=9, ema=ema, log_every=1, **FAST)
    run = stop.value.run
    uninterrupted = genzoo.fit(raising(), DATA, steps=3, ema=ema, log_every=1, **FAST)
    assert torch.equal(run.model.w, uninterrupted.model.w)
    assert (run.steps, len(run.history), run.folder, run.was_complete) == (3, 3, None, False)
    assert not run.model.training


def test_a_second_ctrl_c_stops_within_the_step_and_the_exception_holds_the_model():
    with pytest.raises(Stopped, match="stopped at once, after step 2 of 9") as stop:
        genzoo.fit(raising(signal.SIGINT, signal.SIGINT), DATA, steps=9, **FAST)
    assert torch.equal(stop.value.run.model.w, genzoo.fit(raising(), DATA, steps=2, **FAST).model.w)
    assert all(parameter.requires_grad for parameter in stop.value.run.model.parameters())


def test_repeated_hangups_do_not_interrupt_the_step():
    """A terminal and its shell may both send a hangup; service managers add SIGTERM."""
    with pytest.raises(Stopped, match="stopped at step 3"):
        genzoo.fit(
            raising(signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGTERM),
            DATA,
            steps=9,
            **FAST,
        )


@pytest.mark.slow
def test_an_interrupted_run_is_saved_and_the_message_shows_the_command_to_resume(
    tmp_path, monkeypatch
):
    folder = tmp_path / "a run"
    steps, real = [], VAE.loss

    def loss(self, batch):
        steps.append(1)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGHUP)
        return real(self, batch)

    monkeypatch.setattr(VAE, "loss", loss)
    message = (
        r"stopped at step 3 of 5; .*step-000003\.ckpt holds everything\. "
        r"Resume with `genzoo resume '.*a run'`\."
    )
    with pytest.raises(Stopped, match=message) as stop:
        genzoo.fit(VAE_TABLE, "digits", folder, steps=5, **FAST)
    assert stop.value.run.folder == folder
    resumed = genzoo.fit(VAE_TABLE, "digits", folder, steps=5, resume=True, **FAST)
    uninterrupted = genzoo.fit(VAE_TABLE, "digits", steps=5, **FAST)
    assert all(map(torch.equal, resumed.model.parameters(), uninterrupted.model.parameters()))


@pytest.fixture
def interrupted(monkeypatch):
    """Interrupt every step of a VAE or `Mean`."""
    for model in (VAE, Mean):
        real = model.loss

        def loss(self, batch, real=real):
            signal.raise_signal(signal.SIGINT)
            return real(self, batch)

        monkeypatch.setattr(model, "loss", loss)


@pytest.mark.usefixtures("interrupted")
def test_a_run_on_arrays_shows_how_to_resume_in_python(tmp_path):
    message = r"Resume with genzoo\.fit\(model, data, '.*run', resume=True\)\."
    with pytest.raises(Stopped, match=message):
        genzoo.fit("test-mean", DATA, tmp_path / "run", steps=9, **FAST)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"schedule": lambda t: 1 - t}, "schedule=schedule"),
        ({"players": {"autoencoder": {"schedule": lambda t: 1 - t}}}, "players=players"),
    ],
)
def test_a_run_with_a_schedule_function_shows_how_to_resume_in_python(
    tmp_path, settings, arguments
):
    message = rf"Resume with genzoo\.fit\(model, data, '.*run', resume=True, {arguments}\)\."
    with pytest.raises(Stopped, match=message):
        genzoo.fit(VAE_TABLE, "digits", tmp_path / "run", steps=9, **settings, **FAST)


@pytest.mark.usefixtures("interrupted")
def test_the_command_to_resume_repeats_the_plugin_files(tmp_path):
    file = tmp_path / "my plugin.py"
    file.write_text(
        "import genzoo\n"
        "from genzoo.priors.simple import Normal\n\n"
        '@genzoo.priors.register("test-plugin-prior")\n'
        "class Mine(Normal):\n"
        "    pass\n"
    )
    load_file(file)
    table = {**VAE_TABLE, "prior": "test-plugin-prior"}
    try:
        message = rf"Resume with `genzoo resume \S*run --plugin '{re.escape(str(file))}'`\."
        with pytest.raises(Stopped, match=message):
            genzoo.fit(table, "digits", tmp_path / "run", steps=9, **FAST)
    finally:
        registry("priors").unregister("test-plugin-prior")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_ignored_signals_stay_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    run = genzoo.fit(raising(number), DATA, steps=4, **FAST)
    assert run.steps == 4
    assert signal.getsignal(number) == signal.SIG_IGN


def test_the_callers_handler_is_called_and_restored():
    heard = []

    def handler(number, _):
        heard.append(number)

    signal.signal(signal.SIGTERM, handler)
    with pytest.raises(Stopped, match="stopped at step 3"):
        genzoo.fit(raising(signal.SIGTERM), DATA, steps=9, **FAST)
    assert heard == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_callers_handler_that_raises_stops_immediately():
    def handler(*_):
        raise KeyboardInterrupt("mine")

    signal.signal(signal.SIGINT, handler)
    with pytest.raises(Stopped, match="stopped at once, after step 2") as stop:
        genzoo.fit(raising(signal.SIGINT), DATA, steps=9, **FAST)
    assert str(stop.value.__cause__) == "mine"


def test_a_handler_that_python_did_not_set_is_unchanged(monkeypatch):
    """Python reports such a handler as None, and cannot set it again."""
    real, changed = signal.getsignal, []
    monkeypatch.setattr(
        signal, "getsignal", lambda number: None if number == signal.SIGHUP else real(number)
    )
    monkeypatch.setattr(signal, "signal", lambda number, _: changed.append(number))
    with stop_signals():
        pass
    assert sorted(set(changed)) == sorted([signal.SIGINT, signal.SIGTERM])


def test_a_system_without_sighup_stops_on_the_other_signals(monkeypatch):
    """Windows has no SIGHUP."""
    number = signal.SIGHUP
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.delattr(signal, "SIGHUP")
        with stop_signals() as requested:
            assert signal.getsignal(number) is handler
            signal.raise_signal(signal.SIGTERM)
            assert requested.is_set()


def test_fit_in_another_thread_changes_no_handler():
    handlers, runs = [], []

    def train():
        with stop_signals():
            handlers.append(signal.getsignal(signal.SIGINT))
        runs.append(genzoo.fit("test-mean", DATA, steps=2, **FAST))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
    assert runs[0].steps == 2
