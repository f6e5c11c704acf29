"""A Python interpreter that starts quickly, because it has already imported the heavy packages.

`fast_python()` returns the path of a program that tests call instead of `sys.executable`. Its
processes are forks of a server that all tests of a session share. `server.py` explains how they
differ from an ordinary interpreter.
"""

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def open_session() -> None:
    """Create the folder of the server, and pass its path on to the workers of pytest-xdist."""
    folder = Path(tempfile.mkdtemp(prefix="python-"))
    program = folder / "python"
    command = [sys.executable, "-IS", HERE / "client.py", folder / "socket"]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
    program.chmod(0o700)
    (folder / "session").write_text(str(os.getpid()))
    os.environ["FAST_PYTHON"] = str(program)


def close_session() -> None:
    """Remove the folder, which ends the server."""
    shutil.rmtree(Path(os.environ.pop("FAST_PYTHON")).parent)


def fast_python() -> str:
    """Return the path of the interpreter. The first caller of a session starts the server."""
    program = Path(os.environ["FAST_PYTHON"])
    address = program.parent / "socket"
    with (program.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            start(address)
    return str(program)


def start(address: Path) -> None:
    """Start the server and wait until it answers."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (address.parent / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, HERE / "server.py", address],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=HERE,
            start_new_session=True,
        )
    while not address.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.1)
        if server.returncode is not None:
            raise RuntimeError((address.parent / "log").read_text())
