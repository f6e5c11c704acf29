"""Write the log of a run: `metrics.jsonl` and TensorBoard events.

`metrics.jsonl` has a line of strict JSON for each logged step.
"""

from __future__ import annotations

import json
import math
import stat
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genzoo.errors import RunError
from genzoo.files import write_atomic

__all__ = ["History", "Line", "read_line", "strict"]

Line = dict[str, float]

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class History:
    """The lines of the log, in memory and, if the run has a folder, on disk.

    Arguments:
        folder: the run folder, or None to keep the lines in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self.lines: list[Line] = []
        self._folder = folder
        self._writer: Any = None
        self._events = bool(find_spec("tensorboard"))

    @property
    def file(self) -> Path | None:
        """The path of `metrics.jsonl`, or None without a run folder."""
        return None if self._folder is None else self._folder / "metrics.jsonl"

    def resume(self, step: int) -> None:
        """Read the lines up to a step, and drop later lines, whose steps were lost.

        Invalid lines are dropped with a warning. If a step has several lines, only the last one is
        kept. The original file is then saved as `metrics-damaged.jsonl`.

        Raises:
            RunError: the file cannot be read or written.
        """
        if self.file is None or not (self.file.exists() or self.file.is_symlink()):
            return
        content = _read(self.file)
        lines: dict[int, Line] = {}
        dropped = 0
        *whole, last = content.split(b"\n")
        for text in whole if _is_torn(last) else (*whole, last):
            line = read_line(text)
            dropped += line is None and bool(text.strip())
            if line is not None and line["step"] <= step:
                dropped += line["step"] in lines
                lines[int(line["step"])] = line
        self.lines = [lines[number] for number in sorted(lines)]
        if dropped:
            backup = _free(self.file.with_name("metrics-damaged.jsonl"))
            write_atomic(backup, lambda path: path.write_bytes(content))
            noun, verb = ("line", "was") if dropped == 1 else ("lines", "were")
            warnings.warn(
                f"{self.file}: {dropped} {noun} could not be read and {verb} dropped. {backup} "
                "holds the original file.",
                stacklevel=2,
            )
        self._rewrite()

    def add(self, line: Line) -> None:
        """Append a line.

        Raises:
            RunError: the file cannot be written, such as on a full disk.
        """
        self.lines.append(line)
        if self.file is None:
            return
        # somebody removed the file during training
        if len(self.lines) > 1 and not self.file.exists():
            self._rewrite()
        else:
            try:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(_text(line))
            except OSError as error:
                raise RunError(
                    f"{self.file} could not be written: {error.strerror or error}. The run can be "
                    "resumed from its last checkpoint."
                ) from error
        self._add_events(line)

    def move(self, folder: Path) -> None:
        """Write all lines again, to a folder that replaces a lost one."""
        self.close()
        self._folder, self._writer = folder, None
        self._rewrite()

    def close(self) -> None:
        """Write the buffered TensorBoard events."""
        if self._writer is not None:
            try:
                self._writer.close()
            except (OSError, RuntimeError) as error:
                self._without_events(error)

    def _rewrite(self) -> None:
        assert self.file is not None
        content = "".join(map(_text, self.lines))
        write_atomic(self.file, lambda path: path.write_text(content, encoding="utf-8"))

    def _add_events(self, line: Line) -> None:
        if not self._events:
            return
        step = int(line["step"])
        try:
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(self._folder), purge_step=step)  # type: ignore[no-untyped-call]
            for name, value in line.items():
                if name != "step":
                    self._writer.add_scalar(name, value, step)
        except (OSError, RuntimeError) as error:
            self._without_events(error)

    def _without_events(self, error: Exception) -> None:
        """Continue without TensorBoard, because metrics.jsonl has the same values."""
        self._events, self._writer = False, None
        warnings.warn(
            f"TensorBoard events could not be written ({error}). The log continues in "
            "metrics.jsonl only.",
            stacklevel=2,
        )


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


def _text(line: Mapping[str, float]) -> str:
    return json.dumps(strict(line), allow_nan=False) + "\n"
