"""Send a command line to the server and end as its process ends; replaces the Python interpreter.

The server's process gets the standard streams, the working directory, and the environment of this
one, and later its signals.
"""

import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def is_open(stream: int) -> bool:
    """Return True if the file descriptor can be passed on."""
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True


def main(address: str, arguments: list[str]) -> int:
    """Run `python ARGUMENTS` on the server; return the status of its process as `os.wait` does."""
    streams = [stream for stream in (0, 1, 2) if is_open(stream)]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = json.dumps(
        {
            "arguments": arguments,
            "streams": streams,
            "folder": os.getcwd(),  # noqa: PTH109
            "environment": dict(os.environ),
        }
    ).encode("utf-8", "surrogatepass")
    socket.send_fds(connection, [len(request).to_bytes(8, "big")], streams)
    connection.sendall(request)
    for number in FORWARDED:
        signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
    answer = connection.recv(8)
    return int.from_bytes(answer, "big")


if __name__ == "__main__":
    status = main(sys.argv[1], sys.argv[2:])
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in FORWARDED:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))
