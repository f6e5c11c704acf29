"""The log is read on resume after every kind of damage, and it is strict JSON."""

import json
import math
import os
import resource
import signal

import pytest

import genzoo
from genzoo.contract import LoggedRun
from genzoo.errors import RunError
from genzoo.train.history import restore
from genzoo.train.loggers.jsonl import JSONL
from tests.games import DATA, FAST, Mean  # noqa: F401

GOOD = b'{"step": 2, "loss": 0.5}\n{"step": 4, "loss": 0.25}\n'

FOREIGN = {
    "not UTF-8": b'{"step": 3, "loss": "\xff\xfe"}',
    "binary": bytes(byte for byte in range(256) if byte != 10),
    "list": b"[1, 2]",
    "number": b"7",
    "null": b"null",
    "string": b'"text"',
    "nested": b'{"step": 3, "loss": {"a": 1}}',
    "list value": b'{"step": 3, "loss": [1]}',
    "null value": b'{"step": 3, "loss": null}',
    "boolean": b'{"step": 3, "loss": true}',
    "no step": b'{"loss": 1.0}',
    "text step": b'{"step": "3", "loss": 1.0}',
    "float step": b'{"step": 3.0, "loss": 1.0}',
    "boolean step": b'{"step": true, "loss": 1.0}',
    "negative step": b'{"step": -3, "loss": 1.0}',
    "huge integer": b'{"step": 3, "loss": ' + b"9" * 5000 + b"}",
    "large integer": b'{"step": 3, "loss": ' + b"9" * 4000 + b"}",
    "huge step": b'{"step": ' + b"9" * 4000 + b"}",
    "deep": b"[" * 100_000,
    "deep value": b'{"step": 3, "loss": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "NaN": b'{"step": 3, "loss": NaN}',
    "text": b'{"step": 3, "loss": "fine"}',
    "duplicate": b'{"step": 2, "loss": 0.5}',
}


def resumed(folder, step=4):
    return restore(folder / "metrics.jsonl", step)[0]


def logger(folder):
    """Return the logger of a run that is resumed in a folder."""
    jsonl = JSONL()
    jsonl.open(LoggedRun(name="run", folder=folder, history=resumed(folder, step=10)))
    return jsonl


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_an_invalid_line_is_moved_to_another_file_with_a_warning(tmp_path, kind, position):
    first, second = GOOD.splitlines()
    lines = {
        "first": [FOREIGN[kind], first, second],
        "middle": [first, FOREIGN[kind], second],
        "last": [first, second, FOREIGN[kind]],
    }
    damaged = b"\n".join([*lines[position], b""])
    (tmp_path / "metrics.jsonl").write_bytes(damaged)
    with pytest.warns(
        UserWarning, match=r"metrics\.jsonl: 1 line could not be read and was dropped\. .*damaged"
    ):
        history = resumed(tmp_path)
    assert history == [{"step": 2, "loss": 0.5}, {"step": 4, "loss": 0.25}]
    assert (tmp_path / "metrics.jsonl").read_bytes() == GOOD
    assert (tmp_path / "metrics-damaged.jsonl").read_bytes() == damaged


def test_every_invalid_log_is_kept(tmp_path):
    for name, junk in (
        ("metrics-damaged.jsonl", b"\x00\xff" * 500),
        ("metrics-damaged-2.jsonl", b"PK\x03\x04\n\n\x01"),
    ):
        (tmp_path / "metrics.jsonl").write_bytes(junk)
        with pytest.warns(UserWarning, match="could not be read"):
            assert resumed(tmp_path) == []
        assert (tmp_path / name).read_bytes() == junk


@pytest.mark.parametrize(
    "tail", [b"", b"{", b'{"step', b'{"step": 5, "lo', b'{"step": 9, "loss": 1.0}\n']
)
def test_an_incomplete_last_line_is_dropped_without_a_warning(tmp_path, tail, recwarn):
    (tmp_path / "metrics.jsonl").write_bytes(GOOD + tail)
    assert len(resumed(tmp_path)) == 2
    assert not recwarn
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_unordered_lines_are_sorted_and_kept(tmp_path, recwarn):
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(reversed(GOOD.splitlines(keepends=True))))
    assert [line["step"] for line in resumed(tmp_path)] == [2, 4]
    assert not recwarn


def test_non_finite_values_are_strict_json_and_are_read_back(tmp_path):
    logger(tmp_path).log(1, {"loss": math.nan, "error": math.inf, "gap": -math.inf})
    text = (tmp_path / "metrics.jsonl").read_text()
    json.loads(text, parse_constant=pytest.fail)
    line = resumed(tmp_path)[0]
    assert math.isnan(line["loss"])
    assert (line["error"], line["gap"]) == (math.inf, -math.inf)


def test_an_empty_or_missing_file_is_valid(tmp_path, recwarn):
    assert resumed(tmp_path) == []
    (tmp_path / "metrics.jsonl").touch()
    assert resumed(tmp_path) == []
    assert not recwarn


def test_a_link_is_replaced_and_its_target_is_kept(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").write_bytes(GOOD)
    link = tmp_path / "run" / "metrics.jsonl"
    link.symlink_to(tmp_path / "elsewhere")
    assert len(resumed(tmp_path / "run", step=2)) == 1
    assert not link.is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == GOOD
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    logger(tmp_path / "run").log(5, {"loss": 1.0})
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_a_path_that_is_not_a_file_is_refused_before_training(tmp_path, kind):
    run = genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, **FAST).folder
    file = run / "metrics.jsonl"
    file.unlink()
    {"folder": file.mkdir, "pipe": lambda: os.mkfifo(file), "loop": lambda: file.symlink_to(file)}[
        kind
    ]()
    if kind == "loop":
        assert genzoo.fit("test-mean", DATA, run, steps=4, resume=True, **FAST).steps == 4
        return
    with pytest.raises(
        RunError, match=r"metrics\.jsonl is (a folder|not a regular file).*move it away"
    ):
        genzoo.fit("test-mean", DATA, run, steps=4, resume=True, **FAST)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002.ckpt"]


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "metrics.jsonl").write_bytes(GOOD)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(
        RunError, match=r"metrics\.jsonl cannot be read: Permission denied; make it readable"
    ):
        resumed(tmp_path)


def test_a_full_disk_is_named(tmp_path):
    """A limit on the size of files replaces the full disk."""
    jsonl = logger(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, limit[1]))
    try:
        jsonl.log(1, {"loss": 0.5})
        with pytest.raises(RunError, match=r"metrics\.jsonl could not be written: File too large"):
            jsonl.log(2, {f"loss-{number}": 0.5 for number in range(10)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert resumed(tmp_path)[0] == {"step": 1, "loss": 0.5}


def test_a_file_that_is_removed_during_training_is_written_again(tmp_path):
    jsonl = logger(tmp_path)
    jsonl.log(1, {"loss": 0.5})
    (tmp_path / "metrics.jsonl").unlink()
    jsonl.log(2, {"loss": 0.25})
    assert [line["loss"] for line in resumed(tmp_path)] == [0.5, 0.25]
