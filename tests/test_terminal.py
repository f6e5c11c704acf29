"""Output has no control characters, and commands survive closed streams and an early Ctrl-C."""

import io
import os
import signal
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from genzoo.errors import on_one_line, printable, visible
from genzoo.terminal import READER_GONE, Console, is_terminal, repair_streams

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u202egnp.exe\udcff\u2028\x7f"
ACTS = {
    chr(code)
    for code in range(0x110000)
    if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")
} - {"\n", "\t"}
ACTS |= set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
"""The characters that act on a terminal, change the direction of text, or cannot be encoded."""
GENZOO = ("-P", "-m", "genzoo")
ENVIRONMENT = {**os.environ, "GENZOO_PLUGINS": "off"}


@pytest.mark.slow
def test_only_control_characters_are_escaped():
    everything = "".join(map(chr, range(0x110000)))
    kept = "".join(letter for letter in everything if letter not in ACTS)
    shown = visible(everything)
    assert not ACTS & set(shown)
    assert visible(kept) == kept
    assert visible("\x1b\x9b\u202e\udcff\0") == r"\x1b\x9b\u202e\udcff\x00"


@given(st.text())
def test_cleaning_is_idempotent(text):
    assert visible(visible(text)) == visible(text)
    assert printable(text).isprintable()
    assert len(on_one_line(text).splitlines()) <= 1


def printed(*arguments, **settings):
    """Return what a terminal receives when a console prints the arguments."""
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, color_system="truecolor", width=80, **settings
    )
    for argument in arguments:
        console.print(argument)
    return file.getvalue()


def test_only_styles_are_kept():
    table = Table("name", HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE, Text(HOSTILE, style="bold red"))
    out = printed(f"[bold]{HOSTILE}[/bold]", table, Text(HOSTILE))
    assert "\x1b[1m" in out
    assert "\x1b[1;31m" in out
    sequences = out.split("\x1b")[1:]
    assert all(
        part.startswith("[") and part[1:].lstrip("0123456789;").startswith("m")
        for part in sequences
    )
    assert not (ACTS - {"\x1b"}) & set(out)
    assert r"\x1b]0;owned" in out


def test_a_cleaned_cell_fits_its_column():
    table = Table("name", "value")
    table.add_row("\x1b[31m" * 30, "1")
    out = printed(table, no_color=True).replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert max(map(len, out.splitlines())) <= 80


def test_statuses_and_bars_are_cleaned_and_still_move():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with console.status(HOSTILE):
        pass
    out = file.getvalue()
    assert "\x1b[?25l" in out  # rich hides the cursor
    assert "\x1b]0;" not in out
    assert r"\x1b]0;owned" in out


def test_a_missing_stream_is_not_a_terminal():
    closed = io.StringIO()
    closed.close()
    assert not any(map(is_terminal, (None, closed, io.StringIO())))


def test_missing_streams_are_opened(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    repair_streams()
    assert sys.stdout.write("x") == 1


@pytest.mark.parametrize(
    ("stderr", "outlives", "ends"),
    [(False, False, True), (False, True, False), (True, False, False)],
)
def test_only_printing_commands_end_when_the_reader_closes(monkeypatch, stderr, outlives, ends):
    class Broken(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr" if stderr else "stdout", Broken())
    console = Console(stderr=stderr)
    console.outlives_reader = outlives
    if ends:
        with pytest.raises(SystemExit) as exit_:
            console.print("x")
        assert exit_.value.code == READER_GONE == 128 + signal.SIGPIPE
    else:
        console.print("x")
    console.print("y")


def test_training_continues_after_the_terminal_hangs_up(monkeypatch):
    class Gone(io.StringIO):
        def write(self, _):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdout", Gone())
    console = Console()
    with pytest.raises(OSError, match="Input/output"):
        console.print("x")
    console = Console()
    console.outlives_reader = True
    console.print("x")
    console.print("y")


def call(*command, folder=None):
    """Run a command line without plugins."""
    return subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=folder,
        check=False,
    )


def shell(line, interpreter=sys.executable, folder=None):
    """Run a line in bash, where `$genzoo` is the command."""
    return call("bash", "-c", f"genzoo='{' '.join([interpreter, *GENZOO])}'; {line}", folder=folder)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$genzoo list | :", READER_GONE),
        ("$genzoo info vae >&-", 0),
        ("$genzoo list 2>&-", 0),
        ("$genzoo list frobs >&- 2>&-", 2),
        ("$genzoo list <&- >&- 2>&-", 0),
    ],
)
def test_a_closed_stream_gives_no_traceback(line, code):
    done = shell(f"set -o pipefail; trap '' PIPE; {line}")
    assert (done.returncode, done.stderr) == (code, "")


def test_a_full_disk_is_a_one_line_error():
    done = shell("$genzoo list > /dev/full")
    assert (done.returncode, done.stderr) == (2, "error: [Errno 28] No space left on device\n")


TRAIN = (
    "$genzoo train digits --model vae train.steps=4 train.log_every=1 train.batch_size=8 --out run"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [f"set -o pipefail; {TRAIN} | :", f"{TRAIN} >&- 2>&-", f"{TRAIN} > /dev/full"]
)
def test_a_run_continues_without_a_reader(tmp_path, python, line):
    done = shell(line, python, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_a_stream_of_another_encoding_takes_any_character():
    done = shell("PYTHONIOENCODING=ascii $genzoo info frechet")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\xe9" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "evil.toml"],
        ["train", "\x1b]0;x\x07.toml"],
        ["frob\x1b[31m"],
        ["list", "--\x1b[31m"],
        ["list", "models\x1b[31m"],
        ["info", "\x1b[31m\nx"],
        ["train", "digits", "--model", "vae", "a\x1b.b=1"],
        ["sample", "./\x1b[31m"],
        ["list", "--plugin", "plugin.py"],
    ],
    ids=lambda arguments: repr(" ".join(arguments)),
)
def test_errors_notes_and_usage_are_one_clean_line(tmp_path, python, arguments):
    recipe = 'model = "vae\\u001B[31m\\nerror: forged\\u202E"\ndata = "digits"\n'
    (tmp_path / "evil.toml").write_text(recipe)
    plugin = 'import genzoo\n\n\nraise ValueError("\\x1b[2J\\nerror: forged")\n'
    (tmp_path / "plugin.py").write_text(plugin)
    done = call(python, *GENZOO, *arguments, folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "x1b" in done.stderr
    assert not (ACTS & set(done.stderr + done.stdout))


INTERRUPTED = """
import signal, sys
import genzoo
{before}
sys.argv = ["genzoo", *{arguments}]
from genzoo.__main__ import main
main()
"""
AT_IMPORT = """
class Finder:
    def find_spec(name, *_):
        if name == {module!r}: signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("genzoo.cli.app", ["list"]),
        ("typer", ["--help"]),
        ("genzoo.registry.diagnose", ["list"]),
        ("torch", ["train", "digits", "--model", "vae"]),
        ("genzoo.models.vae", ["sample", "vae"]),
        ("genzoo.data.sklearn_digits", ["train", "digits", "--model", "vae", "--out", "run"]),
        ("genzoo.testing", ["check", "vae"]),
        ("genzoo.plots", ["sample", "vae"]),
    ],
)
def test_an_early_ctrl_c_prints_one_line(tmp_path, python, module, arguments):
    # The fast interpreter has imported torch and typer already.
    interpreter = python if module.startswith("genzoo.") else sys.executable
    script = INTERRUPTED.format(before=AT_IMPORT.format(module=module), arguments=arguments)
    done = call(interpreter, "-P", "-c", script, folder=tmp_path)
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_an_interrupted_plugin_prints_one_line(tmp_path, python):
    (tmp_path / "plugin.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    script = INTERRUPTED.format(before="", arguments=["list", "--plugin", "plugin.py"])
    done = call(python, "-P", "-c", script, folder=tmp_path)
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_a_traceback_has_no_control_characters(tmp_path, python):
    (tmp_path / "plugin.py").write_text(
        "import genzoo\n\n\n@genzoo.datasets.register('bad')\ndef bad():\n"
        "    raise RuntimeError('\\x1b[31mred')\n"
    )
    command = ("train", "bad", "--model", "vae", "--plugin", "plugin.py")
    done = call(python, *GENZOO, *command, folder=tmp_path)
    assert done.returncode == 1
    assert r"RuntimeError: \x1b[31mred" in done.stderr
    assert "\x1b" not in done.stderr
