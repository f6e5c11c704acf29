"""The log of a run as text: `metrics.jsonl` has a line of strict JSON for each logged step."""

from __future__ import annotations

import json
import math
import stat
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genzoo.errors import RunError
from genzoo.files import write_atomic, write_text

__all__ = ["Line", "line_text", "read_line", "restore", "strict", "write"]

Line = dict[str, float]

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def restore(file: Path, step: int) -> tuple[list[Line], int]:
    """Read the lines of a log up to a step, and drop later lines, whose steps were lost.

    Invalid lines are dropped with a warning. If a step has several lines, only the last one is
    kept. The original file is then saved as `metrics-damaged.jsonl`.

    Returns:
        The lines, and the last step that the file had.

    Raises:
        RunError: the file cannot be read or written.
    """
    if not (file.exists() or file.is_symlink()):
        return [], 0
    content = _read(file)
    lines: dict[int, Line] = {}
    dropped = last_step = 0
    *whole, last = content.split(b"\n")
    for text in whole if _is_torn(last) else (*whole, last):
        line = read_line(text)
        dropped += line is None and bool(text.strip())
        if line is None:
            continue
        last_step = max(last_step, int(line["step"]))
        if line["step"] <= step:
            dropped += line["step"] in lines
            lines[int(line["step"])] = line
    kept = [lines[number] for number in sorted(lines)]
    if dropped:
        backup = _free(file.with_name("metrics-damaged.jsonl"))
        write_atomic(backup, lambda path: path.write_bytes(content))
        noun, verb = ("line", "was") if dropped == 1 else ("lines", "were")
        warnings.warn(
            f"{file}: {dropped} {noun} could not be read and {verb} dropped. {backup} "
            "holds the original file.",
            stacklevel=2,
        )
    write(file, kept)
    return kept, last_step


def write(file: Path, lines: Sequence[Line]) -> None:
    """Write a whole log."""
    write_text(file, "".join(map(line_text, lines)))


def line_text(line: Mapping[str, float]) -> str:
    """Return a line of the log as strict JSON."""
    return json.dumps(strict(line), allow_nan=False) + "\n"


def strict(value: Any) -> Any:
    """Return a value for strict JSON, with NaN and infinities as "nan", "inf", and "-inf".

    Example:
        >>> strict({"loss": float("nan"), "step": 3})
        {'loss': 'nan', 'step': 3}
    """
    if isinstance(value, Mapping):
        return {name: strict(inner) for name, inner in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_line(text: bytes) -> Line | None:
    """Parse a line of the log; return None if it is invalid.

    Example:
        >>> read_line(b'{"step": 50, "loss": 0.5}'), read_line(b'{"step": "fifty"}')
        ({'step': 50, 'loss': 0.5}, None)
    """
    try:
        line = json.loads(text.decode(), parse_constant=_refuse)
    # not UTF-8, not JSON, or a number with 5,000 digits
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(line, dict)
        or type(line.get("step")) is not int
        or not 0 < line["step"] < 2**53
    ):
        return None
    numbers = {name: _number(value) for name, value in line.items()}
    return None if None in numbers.values() else numbers  # type: ignore[return-value]


def _is_torn(text: bytes) -> bool:
    """Return whether the last line is incomplete, because the run was killed as it wrote it."""
    begin = b'{"step": '
    return read_line(text) is None and text[: len(begin)] == begin[: len(text)]


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    if type(value) not in (int, float) or not -1e308 < value < 1e308:
        return None
    return value  # type: ignore[no-any-return]


def _refuse(token: str) -> None:
    raise ValueError(f"{token} is not JSON")


def _read(file: Path) -> bytes:
    """Return the content of a file, or nothing for a broken symbolic link.

    Raises:
        RunError: the path is not a regular file, or it cannot be read.
    """
    try:
        if file.is_symlink() and not file.exists():
            return b""
        if not stat.S_ISREG(file.stat().st_mode):
            raise RunError(f"{file} is not a regular file; move it away to continue without it.")
        return file.read_bytes()
    except OSError as error:
        raise RunError(
            f"{file} cannot be read: {error.strerror}; make it readable, or move it away to "
            "continue without it."
        ) from error


def _free(path: Path) -> Path:
    """Return the path if it does not exist yet; otherwise add a number to its name."""
    number = 1
    candidate = path
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate
