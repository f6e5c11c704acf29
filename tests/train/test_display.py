"""Progress fits any width: updated in place on terminals and in notebooks, else printed lines."""

import builtins
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import types

import pytest
from rich.cells import cell_len
from rich.console import Console as RichConsole

import genzoo
from genzoo.train.display import Display, Frame, duration, format_line, is_rate
from tests import games  # noqa: F401
from tests.train.test_kill import DATA

GAME = {
    "critic/loss": 1.2929,
    "critic/gap": 0.2726,
    "generator/loss": 0.6065,
    "critic/js": 0.046561,
    "critic/weight": 12.25,
}


def frame(width: int, done: int = 199_999) -> list[str]:
    """Return the lines that a long game shows on a terminal of the given width."""
    pieces = [f"{done:,}/200,000", "ETA 12:34:56", "1,234,567 images/s"]
    console = RichConsole(width=width, force_terminal=True, file=io.StringIO(), color_system=None)
    console.print(Frame(done, 200_000, pieces, format_line(GAME, "  ")), end="")
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [*range(14, 81), 100, 200])
def test_a_frame_has_two_lines_that_fit(width):
    lines = frame(width)
    assert len(lines) == 2
    assert all(cell_len(line) <= width for line in lines)


def test_a_narrow_frame_shows_the_step_first():
    bar, losses = frame(80)
    assert "━" in bar
    assert bar.endswith(" 199,999/200,000  ETA 12:34:56  1,234,567 images/s")
    assert losses.startswith("critic/loss 1.293  critic/gap 0.2726")
    assert losses.endswith("…")
    bar, losses = frame(40)
    assert bar.split()[1:] == ["199,999/200,000", "ETA", "12:34:56"]
    assert "━" in bar
    assert frame(16)[0] == "199,999/200,000"
    assert frame(200)[1].endswith("critic/weight 12.25")


def on_a_terminal(python: str, columns: int, script: str, messages_too: bool = False) -> str:
    """Run a script with a pseudo-terminal as standard output, and return the terminal's input."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    fixed = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    environment = {name: value for name, value in os.environ.items() if name not in fixed} | {
        "TERM": "xterm"
    }
    imports = "import genzoo; from tests import games; from tests.train import test_kill"
    child = subprocess.Popen(
        [python, "-c", f"{imports}; {script}"],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave if messages_too else subprocess.PIPE,
        text=True,
        env=environment,
    )
    os.close(slave)
    received = []
    # Linux raises an error at the end
    with contextlib.suppress(OSError):
        while piece := os.read(master, 1 << 16):
            received.append(piece)
    os.close(master)
    assert child.communicate() == (None, None if messages_too else "")
    assert child.returncode == 0
    return b"".join(received).decode()


@pytest.mark.parametrize("columns", [80, 40])
def test_a_game_on_a_terminal_updates_two_lines(columns, python):
    received = on_a_terminal(
        python,
        columns,
        "genzoo.fit('test-game', test_kill.DATA, steps=7, batch_size=16, log_every=2)",
    )
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received).replace("\r", "\n").splitlines()
    assert max(map(cell_len, lines)) <= columns
    last = [line for line in lines if line][-2:]
    assert "7/7  ETA 0:00" in last[0]
    assert "━" in last[0]
    assert last[1].startswith("critic/loss ")
    assert last[1].endswith("…") == (columns == 40)


def test_a_message_is_printed_above_the_updated_lines(python):
    script = "from genzoo.cli.common import say; from genzoo.train.display import Display\n"
    script += "with Display(9, 0, shown=True) as display:\n"
    script += "    display.move(3, 8); say('note: look'); display.move(4, 8)"
    received = on_a_terminal(python, 80, script, messages_too=True)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received).replace("\r", "\n").splitlines()
    assert "note: look" in lines
    assert "4/9" in [line for line in lines if line][-1]


def test_without_a_terminal_each_log_interval_prints_a_line(capsys):
    genzoo.fit("test-game", DATA, steps=7, batch_size=16, log_every=2)
    lines = capsys.readouterr().out.splitlines()
    pattern = r"step (\d)/7  (\S+ \S+  )+[\d,]+ images/s  ETA \d+:\d\d"
    assert [match and match[1] for match in (re.fullmatch(pattern, line) for line in lines)] == [
        "2",
        "4",
        "6",
    ]


def test_lines_are_flushed_immediately(monkeypatch):
    class Stream(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed = self.getvalue().count("\n")

    stream, seen = Stream(), []
    monkeypatch.setattr(sys, "stdout", stream)
    display = Display(10, 0, shown=True)
    for step in (2, 4):
        display.move(step, 8)
        display.log({"step": step, "loss": 1.0})
        seen.append(stream.flushed)
    assert seen == [1, 2]


def test_quiet_mode_prints_nothing(capsys, python):
    genzoo.fit("test-game", DATA, steps=2, batch_size=16, log_every=1, progress=False)
    assert capsys.readouterr() == ("", "")
    script = "genzoo.fit('test-mean', test_kill.DATA, steps=2, batch_size=16, progress=False)"
    script += "; print('.')"
    assert on_a_terminal(python, 80, script) == ".\r\n"


class ZMQInteractiveShell:
    """The type of the object that `get_ipython` returns in a notebook."""


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)


@pytest.mark.slow
def test_a_notebook_has_one_output_that_is_replaced(notebook, monkeypatch, capsys):
    shown, replaced = [], []

    class Handle:
        def update(self, data, raw):
            replaced.append(data["text/plain"])

    def display(data, raw, display_id):
        assert raw
        assert display_id
        shown.append(data["text/plain"])
        return Handle()

    module = types.SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("genzoo.train.display._REFRESH", {"terminal": 0, "notebook": 0})
    genzoo.fit("test-game", DATA, steps=300, batch_size=16, log_every=100)
    assert len(shown) == 1
    assert replaced[-1].startswith("step 300/300")
    assert "loss" in replaced[-1]
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_notebook_is_not_flooded(notebook, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    genzoo.fit("test-game", DATA, steps=300, batch_size=16, log_every=100)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        "100/300",
        "200/300",
        "300/300",
    ]


@pytest.mark.slow
def test_learning_rates_are_in_the_log(tmp_path):
    players = {"critic": {"lr": 1e-2}}
    run = genzoo.fit(
        "gan",
        "digits",
        tmp_path / "run",
        steps=4,
        batch_size=8,
        log_every=2,
        schedule="linear",
        players=players,
    )
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["critic/lr"] for line in lines] == pytest.approx([1e-2 * 3 / 4, 1e-2 * 1 / 4])
    assert [line["generator/lr"] for line in lines] == pytest.approx([5e-4 * 3 / 4, 5e-4 * 1 / 4])
    assert all(
        line["critic/lr"] == saved["critic/lr"]
        for line, saved in zip(run.history, lines, strict=True)
    )
    assert "lr" in genzoo.fit("vae", "digits", steps=1, batch_size=8, progress=False).history[0]
    assert not any(is_rate(name) for name in format_line(lines[0], "\n"))


def test_durations_are_formatted():
    assert [duration(seconds) for seconds in (0, 59.6, 3599, 3600, 360_000)] == [
        "0:00",
        "1:00",
        "59:59",
        "1:00:00",
        "100:00:00",
    ]
