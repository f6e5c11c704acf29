"""Tests of damaged checkpoints and weights: flipped bits, non-finite values, and wrong types."""

import copy
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import genzoo
from genzoo.errors import RunError
from genzoo.runs.checkpoint import (
    Checkpoints,
    load_weights,
    read_checkpoint,
    read_weights,
    write_sealed,
    write_weights,
)
from genzoo.runs.folder import RunFolder
from tests.games import DATA, FAST, Game, Mean

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("game") / "run"
    return genzoo.fit(
        "test-game", DATA, folder, steps=4, **{**FAST, "log_every": 3}, ema=0.5
    ).folder


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def flips(content, stride):
    for position in range(0, 8 * len(content), stride):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        yield bytes(damaged)


def header_size(content):
    return 8 + int.from_bytes(content[:8], "little")


@pytest.mark.slow
def test_one_flipped_bit_anywhere_in_a_checkpoint_is_detected(run):
    path = Checkpoints(run / "checkpoints").paths()[-1]
    content = path.read_bytes()
    for damaged in (*flips(content, 101), *flips(content[-200:], 1)):
        path.write_bytes(damaged if len(damaged) == len(content) else content[:-200] + damaged)
        with pytest.raises(
            RunError, match=r"step-000004\.ckpt is damaged.*resume from the one before"
        ):
            read_checkpoint(path)
    path.write_bytes(content)
    assert read_checkpoint(path)["round"] == 4


@pytest.mark.slow
def test_one_flipped_bit_anywhere_in_exported_weights_is_detected(run):
    path = run / "model.safetensors"
    content = path.read_bytes()
    start = header_size(content)
    for damaged in (*flips(content[:start], 1), *flips(content[start:], 13)):
        path.write_bytes(
            damaged + content[start:] if len(damaged) == start else content[:start] + damaged
        )
        with pytest.raises(RunError, match=r"model\.safetensors (are damaged|has format)"):
            read_weights(path)
    path.write_bytes(content)
    assert read_weights(path)[1] == 4


@pytest.mark.slow
def test_a_flipped_bit_is_refused_on_resume_and_skipped_by_load(run):
    path = Checkpoints(run / "checkpoints").paths()[-1]
    content = bytearray(path.read_bytes())
    weight = bytes(read_checkpoint(path)["model"]["critic.0.weight"].numpy().tobytes())
    content[content.index(weight) + 3] ^= 0x40  # flip an exponent bit: the value becomes about 1e38
    path.write_bytes(content)
    with pytest.raises(
        RunError, match=r"step-000004\.ckpt is damaged .*the digest differs.*Move it away"
    ):
        genzoo.fit("test-game", DATA, run, steps=6, **FAST, ema=0.5, resume=True)
    (run / "model-ema.safetensors").unlink()
    (run / "model.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"step-000004\.ckpt is damaged|weights of step 2"):
        genzoo.load(run)
    path.unlink()
    assert (
        genzoo.fit(
            "test-game", DATA, run, steps=6, **{**FAST, "log_every": 3}, ema=0.5, resume=True
        ).steps
        == 6
    )


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_other_programs_are_read(run, metadata):
    weights = run / "model.safetensors"
    save_file(load_file(weights), weights, metadata)
    assert read_weights(weights)[1] == 0


def test_a_checkpoint_without_its_digest_is_damaged(run):
    path = Checkpoints(run / "checkpoints").paths()[-1]
    torch.save(read_checkpoint(path), path)
    with pytest.raises(RunError, match=r"step-000004\.ckpt is damaged .*its digest is missing"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "written",
    [
        '{"format": 3, "round": Infinity}', '{"format": Infinity}', '{"round": NaN}',
        '{"round": -1}', '{"round": true}', '{"format": 3, "round": 1e999}', '{"round": "4"}',
        '{"round": 4.0}', '{"round": ' + "9" * 5000 + "}", "null", "7",
        '{"format": 3, "round": 4}', '{"format": 3, "round": 4, "sha256": 5}',
        '{"format": 3, "sha256": "ab"}', "[" * 9999,
    ],
)  # fmt: skip
def test_headers_of_weights_with_other_values_are_damaged(run, written):
    weights = run / "model.safetensors"
    save_file(load_file(weights), weights, {"genzoo": written})
    with pytest.raises(RunError, match=r"model\.safetensors are damaged"):
        read_weights(weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_weights_are_refused_and_the_model_is_unchanged(tmp_path, value):
    model = Game()
    state = copy.deepcopy(model.state_dict())
    state["critic.0.weight"][0, 1] = value
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        RunError,
        match=r"file holds weights that are not finite \(critic\.0\.weight\); move it away",
    ):
        load_weights(model, state, tmp_path / "file")
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_buffers_can_hold_masks_and_placeholders_but_no_new_nan(tmp_path):
    class Masked(Mean):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
            self.register_buffer("unset", torch.tensor(torch.nan))

    state = Masked().state_dict()
    load_weights(Masked(), state, tmp_path / "file")
    state["mask"] = torch.tensor([0.0, torch.nan])
    with pytest.raises(RunError, match=r"not finite \(mask\)"):
        load_weights(Masked(), state, tmp_path / "file")


def test_a_run_of_nan_weights_is_refused_wherever_weights_are_read(run):
    path = run / "model-ema.safetensors"
    broken = {name: torch.full_like(value, torch.nan) for name, value in load_file(path).items()}
    write_weights(path, Game(), broken, 4)
    with pytest.raises(
        RunError, match=r"model-ema\.safetensors holds weights that are not finite .*and 7 more"
    ):
        genzoo.load(run)
    checkpoint = Checkpoints(run / "checkpoints").paths()[-1]
    state = read_checkpoint(checkpoint)
    state["model"]["critic.0.bias"][:] = torch.inf
    write_sealed(state, checkpoint)
    with pytest.raises(
        RunError, match=r"step-000004\.ckpt holds weights that are not finite \(critic\.0\.bias\)"
    ):
        genzoo.fit("test-game", DATA, run, steps=6, **FAST, ema=0.5, resume=True)


def edit(state, path, value):
    for key in path[:-1]:
        state = state[key]
    if value is KeyError:
        del state[path[-1]]
    else:
        state[path[-1]] = value


OPTIMIZER = ("players", "critic", "optimizer")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("round",), "4", "round is '4'"),
        (("round",), -1, "round is -1"),
        (("round",), 4.0, "round is 4.0"),
        (("round",), True, "round is True"),
        (("round",), 10**30, "round is a huge number"),
        (("batches",), None, "batches is None"),
        (("averaged",), [], "averaged is a list"),
        (("seconds",), "soon", "seconds is 'soon'"),
        (("seconds",), float("nan"), "seconds is nan"),
        (("model",), [], "model is a list"),
        (("model", "critic.0.bias"), 3, r"model\.critic\.0\.bias is 3"),
        (("ema",), 5, "ema is 5"),
        (("ema", "critic.0.bias"), None, r"ema\.critic\.0\.bias is None"),
        (("players",), ["critic", "generator"], "players is a list"),
        (("players", "critic"), None, r"players\.critic is None"),
        (("players", "critic", "count"), KeyError, r"players\.critic lacks count"),
        (("players", "critic", "count"), -3, r"players\.critic\.count is -3"),
        (("players", "critic", "scaler"), 3, r"players\.critic\.scaler is 3"),
        (("players", "critic", "scaler"), {"scale": "x"}, r"players\.critic\.scaler\.scale is 'x'"),
        (OPTIMIZER, None, r"players\.critic\.optimizer is None"),
        ((*OPTIMIZER, "state"), KeyError, "optimizer lacks state"),
        ((*OPTIMIZER, "state", 0), 7, "optimizer.state.0 is 7"),
        ((*OPTIMIZER, "param_groups"), {}, "param_groups is a dict"),
        ((*OPTIMIZER, "param_groups", 0), 1, "param_groups is 1"),
        ((*OPTIMIZER, "param_groups", 0, "params"), KeyError, "param_groups lacks params"),
        ((*OPTIMIZER, "param_groups", 0, "params"), [0], "other parameters"),
        ((*OPTIMIZER, "param_groups", 0, "betas"), "fast", "betas is 'fast'"),
        ((*OPTIMIZER, "param_groups", 0, "eps"), None, "eps is None"),
        ((*OPTIMIZER, "state", 0, "exp_avg"), KeyError, "parameter 0 lacks exp_avg"),
        (
            (*OPTIMIZER, "state", 0, "exp_avg"),
            torch.zeros(9),
            r"exp_avg of parameter 0 has shape \(9,\)",
        ),
        ((*OPTIMIZER, "state", 0, "exp_avg"), "x", "exp_avg of parameter 0 is 'x'"),
        (
            (*OPTIMIZER, "state", 0, "exp_avg"),
            torch.full((8, 2), torch.nan),
            "exp_avg of parameter 0 is not finite",
        ),
        ((*OPTIMIZER, "state", 99), {}, "no parameter 99"),
        (("log",), None, "log is None"),
        (("log", "values"), KeyError, "log lacks values"),
        (("log", "values", "critic/loss"), 3, "log.values.critic/loss is 3"),
        (
            ("log", "values", "critic/loss"),
            torch.zeros(7),
            "log.values has losses of steps that log.rounds lacks",
        ),
        (("log", "rounds", "critic"), ["x"], "log.rounds.critic is 'x'"),
        (("log", "rounds", "critic"), [3, 4], "log.rounds.critic has 2 steps"),
        (("log", "rounds", "critic"), 3, "log.rounds.critic is 3"),
        *(
            ((name,), KeyError, f"lacks {name}")
            for name in ("round", "model", "ema", "players", "log", "seconds")
        ),
    ],
)
def test_content_of_a_wrong_type_is_named_and_nothing_is_restored(run, path, value, message):
    checkpoint = Checkpoints(run / "checkpoints").paths()[-1]
    state = read_checkpoint(checkpoint)
    edit(state, path, value)
    write_sealed(state, checkpoint)
    model = Game()
    before = copy.deepcopy(model.state_dict())
    settings = {**FAST, "log_every": 3, "ema": 0.5, "resume": True}
    with pytest.raises(RunError, match=rf"step-000004\.ckpt .*{message}"):
        genzoo.fit(model, DATA, run, steps=6, **settings)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert RunFolder(run).weights.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "SGD",
        "Adagrad",
        "Adafactor",
        "RMSprop",
        "NAdam",
        "Rprop",
        "ASGD",
        "Adamax",
        "RAdam",
        "AdamW",
    ],
)
def test_every_optimizer_passes_its_checks_and_resumes_bit_identically(tmp_path, name):
    players = {"mean": {"name": name, "lr": 0.01}}
    uninterrupted = genzoo.fit("test-mean", DATA, tmp_path / "a", steps=4, players=players, **FAST)
    genzoo.fit("test-mean", DATA, tmp_path / "b", steps=2, players=players, **FAST)
    resumed = genzoo.fit(
        "test-mean", DATA, tmp_path / "b", steps=4, players=players, resume=True, **FAST
    )
    assert torch.equal(uninterrupted.model.w, resumed.model.w)
