"""Start Python processes quickly: import the heavy packages once, then fork for every command line.

Every fork is a separate process with its own standard streams, working directory, environment,
signals, and exit status, and it imports genzoo itself. Only the packages of `PRELOADED` are already
imported. Tests that measure imports, or that act while one of these packages is imported, use
`sys.executable` instead.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import threading
import types
from pathlib import Path

PRELOADED = (
    "torch", "torch._dynamo", "torch.distributed", "torch.distributed.run", "lightning_fabric",
    "numpy", "sklearn.datasets", "pyro.distributions", "matplotlib.pyplot", "PIL.Image",
    "safetensors.torch", "einops", "pydantic", "tomlkit", "typer", "typer.rich_utils",
    "rich.console", "rich.progress", "rich.table", "pooch", "packaging.requirements",
)  # fmt: skip
BASE_PATH = sys.path[1:]
"""The import path of an interpreter, without the folder of this file."""


def receive(connection: socket.socket) -> tuple[dict, list[int]]:
    """Read a request and the file descriptors that come with it."""
    size, descriptors, *_ = socket.recv_fds(connection, 8, 3)
    length, text = int.from_bytes(size, "big"), b""
    while len(text) < length:
        text += connection.recv(length - len(text))
    return json.loads(text.decode("utf-8", "surrogatepass")), descriptors


def set_streams(streams: list[int], descriptors: list[int]) -> None:
    """Replace the standard streams by those of a request; close the ones that it lacks."""
    # above 2, even if lower ones are closed
    copies = [os.dup(descriptor) for descriptor in descriptors]
    for stream in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(stream)
    for stream, copy in zip(streams, copies, strict=True):
        os.dup2(copy, stream)
    for descriptor in {*descriptors, *copies} - {0, 1, 2}:
        os.close(descriptor)
    sys.stdin = open(0, closefd=False) if 0 in streams else None  # noqa: SIM115
    sys.stdout, sys.stderr = None, None
    if 1 in streams:
        raw = open(1, "wb", closefd=False)  # noqa: SIM115
        sys.stdout = io.TextIOWrapper(raw, "utf-8", "strict", line_buffering=os.isatty(1))
    if 2 in streams:
        raw = open(2, "wb", closefd=False)  # noqa: SIM115
        sys.stderr = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def run(arguments: list[str]) -> None:
    """Do what `python ARGUMENTS` does; the only known options are `-P` and `-u`."""
    is_safe = False
    while arguments[0] in ("-P", "-u"):
        is_safe = is_safe or arguments[0] == "-P"
        arguments = arguments[1:]
    option, *rest = arguments
    if option == "-c":
        code, *rest = rest
        sys.argv, first = ["-c", *rest], ""
    elif option == "-m":
        module, *rest = rest
        sys.argv, first = ["-m", *rest], os.getcwd()  # noqa: PTH109
    else:
        sys.argv, first = arguments, str(Path(option).resolve().parent)
    if not is_safe:
        sys.path.insert(0, first)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if option == "-c":
        exec(compile(code, "<string>", "exec"), vars(main))
    elif option == "-m":
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(option, run_name="__main__")


def exit_status(arguments: list[str]) -> int:
    """Run a command line and return its exit status, after the traceback if it raises."""
    try:
        run(arguments)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return (stop.code or 0) & 0xFF
        print(stop.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        report(interrupt)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException as error:
        report(error)
        return 1
    return 0


def report(error: BaseException) -> None:
    """Print a traceback as the interpreter does, without the frames of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def process(request: dict, descriptors: list[int]) -> None:
    """Become the process of a request; never return."""
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        set_streams(request["streams"], descriptors)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        path = os.environ.get("PYTHONPATH", "")
        sys.path[:] = [*filter(None, path.split(os.pathsep)), *BASE_PATH]
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()
        sys.executable = os.environ.get("FAST_PYTHON", sys.executable)
        status = exit_status(request["arguments"])
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException:
        status = status or 120  # as Python does if it cannot write standard output
    finally:
        os._exit(status)


def kill(child: int) -> None:
    """End a process and those that it started."""
    for end in (os.killpg, os.kill):  # it may not lead its process group yet
        with contextlib.suppress(ProcessLookupError):
            end(child, signal.SIGKILL)


class Server:
    """Fork a process for every connection until the session of the tests has ended."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self.session = int((address.parent / "session").read_text())
        self.listener = socket.socket(socket.AF_UNIX)
        self.selector = selectors.DefaultSelector()
        self.connections: dict[int, socket.socket] = {}  # process id -> connection
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.reader, self.writer = reader, writer
        self.selector.register(reader, selectors.EVENT_READ, self.reap)
        self.listener.bind(str(address))
        self.listener.listen(64)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        request, descriptors = receive(connection)
        child = os.fork()
        if child == 0:
            for other in (self.listener, connection, *self.connections.values()):
                other.close()
            self.selector.close()
            os.close(self.reader)
            os.close(self.writer)
            process(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self.connections[child] = connection
        self.selector.register(
            connection, selectors.EVENT_READ, lambda: self.forward(child, connection)
        )

    def forward(self, child: int, connection: socket.socket) -> None:
        """Send the client's signals to its process, and end it with the client."""
        try:
            numbers = connection.recv(64)
        except ConnectionError:
            numbers = b""
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
        if not numbers:
            self.selector.unregister(connection)
            kill(child)

    def reap(self) -> None:
        """Tell clients how their processes ended."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.reader, 4096):
                pass
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                child, status = ended
                connection = self.connections.pop(child)
                with contextlib.suppress(KeyError):
                    self.selector.unregister(connection)
                with contextlib.suppress(OSError):
                    connection.sendall(status.to_bytes(8, "big"))
                connection.close()

    def session_lives(self) -> bool:
        """Return False if the session has removed the socket, or was killed before it could."""
        try:
            os.kill(self.session, 0)
        except ProcessLookupError:
            return False
        return self.address.exists()

    def serve(self) -> None:
        while self.session_lives():
            for key, _ in self.selector.select(timeout=1):
                key.data()
        for child in self.connections:
            kill(child)
        shutil.rmtree(self.address.parent, ignore_errors=True)


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    Server(Path(sys.argv[1])).serve()
