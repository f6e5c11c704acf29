"""Whether plugins can be imported: what their metadata give away, and what comes of it in processes of their own.

`genzoo list` shows the one, and `genzoo list --check` the other.
"""

from __future__ import annotations

import contextlib
import importlib.metadata as metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from genzoo.__about__ import __version__
from genzoo.errors import GenzooError, printable
from genzoo.registry.lookup import registry
from genzoo.registry.plugins import (
    Registration,
    extras,
    import_path,
    metadata_field,
    normalized_name,
    one_line,
)

_CHILD = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from genzoo.registry.diagnose import main; main(*sys.argv[2:])"


def trouble(source: Registration) -> str:
    """Why an installed plugin cannot be imported, as far as its metadata show it; empty where they show nothing.

    Its module must be on the import path, and the packages that it requires must be installed in a version that will do; what
    those require in turn is not followed. Nothing is imported.
    """
    if source.package is None or source.blocked_because:
        return ""
    module = re.split(r"[.:\s]", source.value)[0]
    try:
        there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        return f"there is no module {module!r}"
    return next(_lacking(source.package, extras(source.value)), "")


def _lacking(
    package: metadata.Distribution, asked: Iterable[str], base: bool = True
) -> Iterator[str]:
    """What a package requires that is not there: all of it, or what the extras alone ask for."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in _requirements(package):
        try:
            need = Requirement(text)
        except InvalidRequirement:
            yield f"it requires {printable(text)!r}, which is malformed"
            continue
        try:
            always, *wanted = (
                need.marker is None or need.marker.evaluate({"extra": extra})
                for extra in ("", *asked)
            )
        except Exception:  # such as an order of things that have none
            yield f"it requires {printable(text)!r}, and its marker cannot be evaluated"
            continue
        if not (base if always else any(wanted)):
            continue
        found = next(iter(metadata.distributions(name=need.name, path=import_path())), None)
        version = metadata_field(found, "Version") if found is not None else ""
        if normalized_name(need.name) == "genzoo":  # a source checkout may have no metadata
            version = __version__
        elif found is None:
            yield f"it requires {need.name}{need.specifier}, which is not installed"
        if version and not _within(version, need.specifier):
            yield f"it requires {need.name}{need.specifier}, and {version} is installed"
        if need.extras and found is not None and base:
            yield from (
                f"{lack} ({need.name}[{','.join(sorted(need.extras))}])"
                for lack in _lacking(found, need.extras, False)
            )


def _requirements(package: metadata.Distribution) -> list[str]:
    try:
        return list(package.requires or ())
    except Exception:  # metadata that cannot be read give nothing away
        return []


def _within(version: str, specifier: Any) -> bool:
    from packaging.version import InvalidVersion

    try:
        return bool(specifier.contains(version, prereleases=True))
    except InvalidVersion:  # not for us to judge
        return True


def trial(sources: Iterable[Registration], limit: float = 60) -> dict[Registration, str]:
    """Import what sources stand for, those of each package together.

    Arguments:
        sources: claims that may be used.
        limit: how long a package may take, in seconds. Time that it waits for a busy processor does
            not count, where the system keeps account of it (Linux).

    Returns:
        For each source why it is broken; empty where it is not.
    """
    packages: dict[str, list[Registration]] = {}
    for source in sources:
        packages.setdefault(source.distribution if source.origin == "package" else "", []).append(
            source
        )
    found = {source: _reason(source.kind, source.full_name) for source in packages.pop("", [])}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for reasons in pool.map(lambda package: _apart(package, limit), packages.values()):
            found |= reasons
    return found


def main(file: str, *names: str) -> None:
    """What the other process does: import `kind name` one by one, and write what came of each before it goes on."""
    process = os.getpid()
    with Path(file).open("a", encoding="utf-8") as report:
        for kind, name in zip(names[::2], names[1::2], strict=True):
            why = _reason(kind, name)
            if os.getpid() != process:  # a plugin forked, and this is the other one
                os._exit(0)
            print(json.dumps([kind, name, why]), file=report, flush=True)
    os._exit(0)  # threads that a plugin started are not waited for


def _reason(kind: str, name: str) -> str:
    try:
        registry(kind).get(name)
    except GenzooError as error:
        return one_line(error.__cause__) if error.__cause__ else str(error)
    return ""


def _apart(sources: Sequence[Registration], limit: float) -> dict[Registration, str]:
    """Import the sources of one package in a process of its own."""
    names = [word for source in sources for word in (source.kind, source.full_name)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.touch()
        command = [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), str(report), *names]
        nowhere = subprocess.DEVNULL
        child = subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        try:
            code = _wait(child, limit)
            end = f"its import takes longer than {limit:g} s" if code is None else _ending(code)
        finally:
            _stop(child)
        said = _reported(report.read_text(encoding="utf-8", errors="replace"))
    missed = [source for source in sources if (source.kind, source.full_name) not in said]
    found = {source: said.get((source.kind, source.full_name), end) for source in sources}
    return found | dict.fromkeys(
        missed[1:],
        f"not tried: it comes after {missed[0].name!r} of the same package" if missed else "",
    )


def _wait(child: subprocess.Popen[bytes], limit: float) -> int | None:
    """Wait for a process to end and return its exit code, or None where it takes longer."""
    begin = time.monotonic()
    while (left := begin + limit + _starved(child.pid) - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(min(left, 0.2))
    return None


def _starved(pid: int) -> float:
    """Return the seconds for which a process was ready to run and had no processor."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # no account is kept here
        return 0.0


def _reported(text: str) -> dict[tuple[str, str], str]:
    """What the other process wrote; lines that it did not write are passed over."""
    found = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            kind, name, why = json.loads(line)
            found[str(kind), str(name)] = str(why)
    return found


def _ending(code: int) -> str:
    if code >= 0:
        return f"its import ends the process, with exit code {code}"
    try:
        return f"its import ends the process, with {signal.Signals(-code).name}"
    except ValueError:
        return f"its import ends the process, with signal {-code}"


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a process, and those that it started where the system keeps them together."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
    child.wait()
