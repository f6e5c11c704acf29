"""Share code between experiments: cached results, tracking during training, figures, tables."""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genzoo.contract import LoggedRun, Logger, Model
from genzoo.files import write_atomic
from genzoo.plots import save, style
from genzoo.plots.theme import COLORS, new_figure
from genzoo.runs.modes import eval_mode
from recipes.pages import fill_page

ROOT = Path(__file__).parents[2]
_BLUE, _VERMILLION, _GREEN, _PINK = COLORS[:4]
METHOD_COLORS = {
    "GAN": _BLUE,
    "DCGAN": _BLUE,
    "LSGAN": _PINK,
    "WGAN": _VERMILLION,
    "WGAN-GP": _GREEN,
}


def common_parser(text: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every experiment."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "docs" / "experiments",
        help="folder for the figure and the numbers",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=ROOT / "build" / "experiments",
        help="folder for cached results",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser


class Cells:
    """A cache of results, so that an interrupted experiment continues with the current cell.

    Arguments:
        options: the command-line options. Results are stored in the folder `cache`. A cell that was
            stored with other settings is computed again.
        name: the name of the experiment.
        settings: the settings on which the results depend.
    """

    def __init__(self, options: argparse.Namespace, name: str, settings: Mapping[str, Any]) -> None:
        torch.set_num_threads(options.threads)
        self.folder, self.settings = (
            options.cache / name,
            {"seed": options.seed, "threads": options.threads, **settings},
        )
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, label: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a cell and its CPU seconds, from its file if possible."""
        path = self.folder / f"{re.sub('[^a-z0-9]+', '-', label.lower())}.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        if kept.get("settings") == json.loads(json.dumps(self.settings)):
            return kept["result"]
        torch.manual_seed(self.settings["seed"])
        start = time.process_time()
        result = {**compute(), "cpu_seconds": round(time.process_time() - start, 1)}
        text = json.dumps({"settings": self.settings, "result": result})
        write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        print(f"{label}: {result['cpu_seconds']:.0f} s", flush=True)
        return result


class Watch(Logger):
    """Look at a model after every `every` rounds of `genzoo.fit(..., **watch.settings)`.

    Arguments:
        model: the model that is trained.
        every: the number of rounds.
        look: returns the values to keep. It is called in eval mode and without gradients.
    """

    def __init__(self, model: Model, every: int, look: Callable[[], Mapping[str, float]]) -> None:
        self.model, self.every, self.look = model, every, look
        self.settings = {"loggers": [self], "log_every": every}
        self.seen: list[dict[str, float]] = []
        """The step, the CPU seconds of training without the looks, and the values of each look."""
        self._seconds = self._since = 0.0

    def open(self, run: LoggedRun) -> None:  # noqa: ARG002
        self._since = time.process_time()

    def log(self, step: int, values: Mapping[str, float]) -> None:  # noqa: ARG002
        self._seconds += time.process_time() - self._since
        # the last step is logged, too
        if step % self.every == 0:
            with eval_mode(self.model):
                looked = self.look()
            self.seen.append({"step": step, "cpu_seconds": round_to(self._seconds), **looked})
        self._since = time.process_time()


def round_to(value: float, digits: int = 4) -> float:
    """Round a number to significant digits."""
    return float(f"{value:.{digits}g}")


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """Yield a matplotlib figure of a size in inches, and write it on exit."""
    with style():
        fig = new_figure(width, height)
        yield fig
        path.parent.mkdir(parents=True, exist_ok=True)
        save(fig, path)


def write(
    options: argparse.Namespace, name: str, settings: Mapping[str, Any], result: Any, lines: str
) -> None:
    """Write the numbers and the machine as JSON, and the table between its marks on the pages."""
    info = Path("/proc/cpuinfo")
    names = re.findall(
        r"^model name\s*: (.*)$", info.read_text() if info.exists() else "", re.MULTILINE
    )
    machine = {
        "cpu": names[0] if names else platform.processor(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "threads": options.threads,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"settings": {"seed": options.seed, **settings}, "machine": machine, "result": result}
    (options.out / f"{name}.json").write_text(
        json.dumps(content, indent=1) + "\n", encoding="utf-8"
    )
    pages = (options.out.with_suffix(".md"), options.out.with_name(f"{name}.md"))
    for page in filter(Path.exists, pages):
        fill_page(page, name, lines)
    print(lines)
