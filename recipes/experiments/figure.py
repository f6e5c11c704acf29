"""Share code between experiments: cached results, tracking during training, figures, tables."""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genzoo.contract import Model
from genzoo.files import write_atomic
from genzoo.train.session import Session
from recipes.pages import fill_page

ROOT = Path(__file__).parents[2]
COLORS = {
    "GAN": "#4c72b0",
    "DCGAN": "#4c72b0",
    "LSGAN": "#8172b3",
    "WGAN": "#dd8452",
    "WGAN-GP": "#55a868",
}
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "contour.negative_linestyle": "solid",
    "savefig.dpi": 160,
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


def watch(
    model: Model, every: int, look: Callable[[], Mapping[str, float]]
) -> list[dict[str, float]]:
    """Call `look` after every `every` rounds of training, and return the list of its results.

    The list fills while the model trains. Each entry holds the step, the CPU seconds of training
    without the calls, and the values of `look`, which runs in eval mode and without gradients.
    """
    seen: list[dict[str, float]] = []
    play_round = Session._play_round
    clock: dict[str, Any] = {"steps": 0, "seconds": 0.0}

    def play_and_look(session: Session, *arguments: Any) -> int:
        if session.model is not model:
            return play_round(session, *arguments)
        start = time.process_time()
        batches = play_round(session, *arguments)
        clock["seconds"] += time.process_time() - start
        clock["steps"] += 1
        if clock["steps"] % every == 0:
            model.eval()
            with torch.no_grad():
                seen.append(
                    {"step": clock["steps"], "cpu_seconds": round_to(clock["seconds"]), **look()}
                )
            model.train()
        return batches

    Session._play_round = play_and_look  # type: ignore[method-assign]
    return seen


def round_to(value: float, digits: int = 4) -> float:
    """Round a number to significant digits."""
    return float(f"{value:.{digits}g}")


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """Yield a matplotlib figure of a size in inches, and write it on exit."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        fig = Figure(figsize=(width, height), layout="constrained")
        yield fig
        path.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table with a left-aligned first column and right-aligned numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


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
