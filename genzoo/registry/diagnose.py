"""Diagnose plugins: check their metadata, and import each one in a subprocess.

`genzoo list` checks the metadata, `genzoo list --check` also imports.
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
from typing import TYPE_CHECKING, Any

from genzoo.__about__ import __version__
from genzoo.errors import GenzooError, describe, printable
from genzoo.registry.lookup import registry
from genzoo.registry.plugins import (
    import_path,
    metadata_field,
    normalized_name,
)
from genzoo.registry.registration import Registration, extras

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["main", "metadata_problem", "try_imports"]

_CHILD = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from genzoo.registry.diagnose import main; main(*sys.argv[2:])"
)


def metadata_problem(registration: Registration) -> str:
    """Return why the metadata of an installed plugin show that its import fails; empty if not.

    The module must be on the import path, and the packages that the plugin requires must be
    installed in a suitable version. Requirements of those packages are not checked. Nothing is
    imported.
    """
    if registration.package is None or registration.blocked_because:
        return ""
    module = re.split(r"[.:\s]", registration.value)[0]
    try:
        exists = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        exists = False
    if not exists:
        return f"there is no module {module!r}"
    return next(_unmet(registration.package, extras(registration.value)), "")


def _unmet(
    package: metadata.Distribution, requested: Iterable[str], *, only_extras: bool = False
) -> Iterator[str]:
    """Yield the requirements of a package that are not met.

    Arguments:
        package: an installed package.
        requested: the extras whose requirements count.
        only_extras: skip the requirements that do not depend on an extra.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for text in _requirements(package):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            yield f"it requires {printable(text)!r}, which is malformed"
            continue
        try:
            always = _applies(requirement, "")
            by_extra = [_applies(requirement, extra) for extra in requested]
        except Exception:  # such as a comparison of values without an order
            yield f"it requires {printable(text)!r}, and its marker cannot be evaluated"
            continue
        for_an_extra = any(by_extra) and not always
        if for_an_extra or (always and not only_extras):
            yield from _problems(requirement, nested=not only_extras)


def _applies(requirement: Requirement, extra: str) -> bool:
    """Return whether a requirement applies on this machine, with an extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _problems(requirement: Requirement, *, nested: bool) -> Iterator[str]:
    """Yield why a requirement is not met; with `nested`, also for the extras that it asks for."""
    label = f"{requirement.name}{requirement.specifier}"
    candidates = metadata.distributions(name=requirement.name, path=import_path())
    installed = next(iter(candidates), None)
    version = metadata_field(installed, "Version") if installed is not None else ""
    if normalized_name(requirement.name) == "genzoo":  # a source checkout may have no metadata
        version = __version__
    elif installed is None:
        yield f"it requires {label}, which is not installed"
    if version and not _within(version, requirement.specifier):
        yield f"it requires {label}, and {version} is installed"
    if nested and requirement.extras and installed is not None:
        suffix = f"({requirement.name}[{','.join(sorted(requirement.extras))}])"
        for problem in _unmet(installed, requirement.extras, only_extras=True):
            yield f"{problem} {suffix}"


def _requirements(package: metadata.Distribution) -> list[str]:
    try:
        return list(package.requires or ())
    except Exception:  # unreadable metadata
        return []


def _within(version: str, specifier: Any) -> bool:
    from packaging.version import InvalidVersion

    try:
        return bool(specifier.contains(version, prereleases=True))
    except InvalidVersion:  # a version that cannot be compared is accepted
        return True


def try_imports(
    registrations: Iterable[Registration], limit: float = 60
) -> dict[Registration, str]:
    """Import the objects of registrations, with one subprocess for each package.

    Arguments:
        registrations: registrations that are not blocked.
        limit: the longest time for a package, in seconds. Time in which the subprocess waits for a
            busy processor does not count, on systems that measure it (Linux).

    Returns:
        The reason why the import of each registration fails; empty if it succeeds.
    """
    packages: dict[str, list[Registration]] = {}
    for registration in registrations:
        name = registration.distribution if registration.origin == "package" else ""
        packages.setdefault(name, []).append(registration)
    in_process = packages.pop("", [])
    reasons = {item: _import_failure(item.kind, item.full_name) for item in in_process}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for package_reasons in pool.map(
            lambda package: _import_in_subprocess(package, limit), packages.values()
        ):
            reasons |= package_reasons
    return reasons


def main(file: str, *names: str) -> None:
    """Run in the subprocess: import `kind name` pairs one by one and report each result at once."""
    process = os.getpid()
    with Path(file).open("a", encoding="utf-8") as report:
        for kind, name in zip(names[::2], names[1::2], strict=True):
            reason = _import_failure(kind, name)
            if os.getpid() != process:  # a plugin forked, and this is the child
                os._exit(0)
            print(json.dumps([kind, name, reason]), file=report, flush=True)
    os._exit(0)  # does not wait for threads that a plugin started


def _import_failure(kind: str, name: str) -> str:
    """Return why an import fails, or an empty string."""
    try:
        registry(kind).get(name)
    except GenzooError as error:
        return describe(error.__cause__) if error.__cause__ else str(error)
    return ""


def _import_in_subprocess(
    registrations: Sequence[Registration], limit: float
) -> dict[Registration, str]:
    """Import the registrations of one package in a subprocess."""
    names = [text for item in registrations for text in (item.kind, item.full_name)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.touch()
        command = [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), str(report), *names]
        null = subprocess.DEVNULL
        child = subprocess.Popen(
            command, stdin=null, stdout=null, stderr=null, start_new_session=True
        )
        try:
            code = _wait(child, limit)
        finally:
            _stop(child)
        results = _read_report(report.read_text(encoding="utf-8", errors="replace"))
    ending = f"its import takes longer than {limit:g} s" if code is None else _ending(code)
    reasons, culprit = {}, ""
    for item in registrations:
        if (item.kind, item.full_name) in results:
            reasons[item] = results[item.kind, item.full_name]
        elif culprit:
            reasons[item] = f"not tried: it comes after {culprit!r} of the same package"
        else:
            reasons[item], culprit = ending, item.name
    return reasons


def _wait(child: subprocess.Popen[bytes], limit: float) -> int | None:
    """Wait for a process to end and return its exit code, or None if it takes longer."""
    begin = time.monotonic()
    while (left := begin + limit + _starved(child.pid) - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(min(left, 0.2))
    return None


def _starved(pid: int) -> float:
    """Return the seconds for which a process was ready to run and had no processor."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # this system does not measure it
        return 0.0


def _read_report(text: str) -> dict[tuple[str, str], str]:
    """Return the results in the report of a subprocess; lines of another origin are skipped."""
    results = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            kind, name, reason = json.loads(line)
            results[str(kind), str(name)] = str(reason)
    return results


def _ending(code: int) -> str:
    if code >= 0:
        return f"its import ends the process, with exit code {code}"
    try:
        return f"its import ends the process, with {signal.Signals(-code).name}"
    except ValueError:
        return f"its import ends the process, with signal {-code}"


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a process, and on systems with process groups also the processes that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
    child.wait()
