"""TensorBoard reads back what a run wrote, each step once."""

import io
import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import genzoo
from genzoo.contract import LoggedRun
from genzoo.train import TensorBoard
from tests.games import DATA, Mean  # noqa: F401 - the import registers the models

SETTINGS = {"batch_size": 8, "checkpoint_every": 2, "log_every": 1, "progress": False}


@pytest.fixture
def bare(monkeypatch):
    """Write no pictures."""
    monkeypatch.setattr("genzoo.train.artifacts.can_plot", lambda: False)
    monkeypatch.setattr("genzoo.train.artifacts.picture", lambda *_: None)


@pytest.fixture(autouse=True)
def _a_file_each_second(monkeypatch):
    """TensorBoard reads files in the order of the seconds in their names."""
    clock = SimpleNamespace(time=itertools.count(1_700_000_000).__next__)
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time", clock)


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def train(folder, **settings):
    genzoo.fit("test-mean", DATA, folder, **SETTINGS, **settings)


def test_a_resume_after_a_kill_repeats_no_step(tmp_path, bare):
    train(tmp_path, steps=4)
    max((tmp_path / "checkpoints").iterdir()).unlink()
    train(tmp_path, steps=6, resume=True)
    read = events(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    history = [json.loads(line) for line in lines]
    for name in set(history[0]) - {"step"}:
        assert [(e.step, e.value) for e in read.Scalars(name)] == [
            (line["step"], pytest.approx(line[name])) for line in history
        ]


def test_sheets_of_samples_are_those_of_the_run_folder(tmp_path):
    data = torch.rand(20, 1, 8, 8)
    genzoo.fit("test-mean", data, tmp_path, **SETTINGS, steps=2, sample_every=1)
    shown = events(tmp_path).Images("samples")
    assert [event.step for event in shown] == [0, 1, 2]
    for event in shown:
        pixels = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))
        file = tmp_path / "samples" / f"step-{event.step:06d}.png"
        assert np.array_equal(pixels, np.asarray(Image.open(file).convert("RGB")))


def test_lines_of_text_are_shown(tmp_path):
    logger = TensorBoard()
    logger.open(LoggedRun(name="run", folder=tmp_path))
    (tmp_path / "step-000000.txt").write_text("a *line*\nanother\n")
    logger.picture(0, tmp_path / "step-000000.txt")
    (event,) = events(tmp_path).Tensors("samples/text_summary")
    assert event.tensor_proto.string_val[0] == b"    a *line*\n    another"
    logger.close("complete")


def test_a_killed_run_has_written_every_step(tmp_path):
    """The logger is not closed."""
    logger = TensorBoard()
    logger.open(LoggedRun(name="run", folder=tmp_path))
    logger.log(1, {"loss": 0.5})
    assert [event.value for event in events(tmp_path).Scalars("loss")] == [0.5]
    logger.close("stopped")


def test_it_says_what_it_needs(tmp_path, monkeypatch, bare):
    with pytest.warns(UserWarning, match="events need a run folder; pass one, as in out="):
        genzoo.fit("test-mean", DATA, **SETTINGS, steps=1, loggers=["tensorboard"])
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.warns(UserWarning, match=r"'tensorboard' failed in open.*'genzoo\[tensorboard\]'"):
        train(tmp_path / "run", steps=1)


def test_a_full_disk_is_one_warning(tmp_path, monkeypatch, bare):
    class Writer:
        def __init__(self, *_, **__):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Writer)
    with pytest.warns(UserWarning, match="'tensorboard' failed in open .*No space left") as caught:
        train(tmp_path / "run", steps=3)
    assert len(caught) == 1
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3
