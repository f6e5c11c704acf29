"""Images a second and step times of every built-in model on a GPU: eager, in bfloat16, channels last, compiled, as a CUDA graph.

Each variant but the last is `genzoo.fit` on data that live on the device. The CUDA graph is a whole round of the game, captured
by hand on static buffers: what the same round costs where nothing is launched from Python. A variant that fails is reported by
its error's first line.

Run it as `python benchmarks/gpu.py`. On a machine without a GPU, `--device cpu --steps 5` goes through everything but the CUDA
graph; that has been checked as a plain round on a CPU only, its capture not at all.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from machine import machine, words, write
from torch import Tensor
from train_overhead import device_name

import genzoo
from genzoo.contract import Batch, Model, Player
from genzoo.dataset import is_image
from genzoo.registry import registry
from genzoo.train.players import make_optimizer

_CONV = {"name": "conv", "channels": (64, 128)}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "vae": {"encoder": _CONV, "decoder": _CONV},
    "wae-mmd": {"encoder": _CONV, "decoder": _CONV},
    "wae-gan": {"encoder": _CONV, "decoder": _CONV},
    "wgan-gp": {"generator": {**_CONV, "norm": "batch"}, "critic": {**_CONV, "norm": "layer"}},
}
"""What a model is built with, where its defaults give a GPU little to do."""
ROWS, INTERVALS = 12_800, 4
Speed = dict[str, Any]


@dataclass(frozen=True)
class ChannelsLast(genzoo.Dataset):
    """A data set whose images reach the model with their channels last in memory."""

    def prepare(self, stored: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        x = super().prepare(stored, dtype)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def built_in() -> list[str]:
    """The models that come with genzoo."""
    return [name for name, claims in sorted(registry("models").sources().items()) if claims[0].distribution == "genzoo"]


def build(name: str, shape: tuple[int, ...]) -> Model:
    torch.manual_seed(0)
    return genzoo.build({"name": name, **SETTINGS.get(name, {})}, shape=shape)


def columns(model: Model) -> dict[str, Tensor]:
    """Made-up rows of what a model reads; images as levels, as data sets keep them."""
    batch = model.example(ROWS)
    found = {model.inputs[0]: batch} if isinstance(batch, Tensor) else dict(batch)
    return {name: (x * 255).round().byte() if x.is_floating_point() and is_image(x.shape[1:]) else x for name, x in found.items()}


def by_fit(
    name: str,
    shape: tuple[int, ...],
    device: str,
    batch: int,
    steps: int,
    kind: type[genzoo.Dataset] = genzoo.Dataset,
    layout: torch.memory_format = torch.preserve_format,
    **settings: Any,
) -> Speed:
    """The speed of `fit`; the first interval of the log, in which a compiler works, is left out."""
    model = build(name, shape).to(memory_format=layout)
    data = kind(columns(model))
    run = genzoo.fit(model, data, device=device, batch_size=batch, steps=INTERVALS * steps, log=steps, progress=False, **settings)
    marks = [line["seconds"] for line in run.history]
    rates = [line["images_per_second"] for line in run.history[1:]]
    step = statistics.median(after - before for before, after in pairwise(marks)) / steps
    return {"images_per_second": statistics.median(rates), "step_ms": 1e3 * step}


def by_graph(name: str, shape: tuple[int, ...], device: str, batch: int, steps: int) -> Speed | None:
    """The speed of a whole round as one CUDA graph; None where there is no CUDA."""
    if not device.startswith("cuda"):
        return None
    model = build(name, shape)
    data = genzoo.Dataset({key: x.to(device) for key, x in columns(model).items()})
    play, buffers = game(model.to(device).train(), data, batch)
    side = torch.cuda.Stream()  # what libraries set up at a first call must not be captured
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            play()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        play()
    times = []
    for _ in range(INTERVALS):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(steps):
            fill(buffers, data)
            graph.replay()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) / steps)
    step = statistics.median(times[1:])
    return {"images_per_second": len(buffers) * batch / step, "step_ms": 1e3 * step}


def game(model: Model, data: genzoo.Dataset, batch: int) -> tuple[Callable[[], None], list[dict[str, Tensor]]]:
    """A round by hand: the function that plays it, and the static buffers, column -> tensor, of the batches that it reads.

    It launches the same work at each call and reads no number back, so a CUDA graph can hold it.
    """
    late = 10**6  # past any warm-up
    plan = [(player, player.steps(late) if callable(player.steps) else player.steps) for player in model.players()]
    plan = [(player, steps) for player, steps in plan if steps]
    owned = {player.name: player.parameters() for player, _ in plan}
    graphs = {"capturable": True} if model.like.is_cuda else {}
    optimizers = {
        player.name: make_optimizer(owned[player.name], {**player.optimizer, **graphs}, player.name) for player, _ in plan
    }
    first = {name: data.prepare(x[:batch]) for name, x in data.train.items()}
    buffers = [{name: x.clone() for name, x in first.items()} for _ in range(max(steps for _, steps in plan))]
    batches = [buffer if len(buffer) > 1 else next(iter(buffer.values())) for buffer in buffers]

    def update(player: Player, given: Batch) -> None:
        for name, parameters in owned.items():
            for parameter in parameters:
                parameter.requires_grad_(name == player.name)
        optimizers[player.name].zero_grad(set_to_none=True)
        player.loss(given)["loss"].backward()
        optimizers[player.name].step()
        if player.after is not None:
            with torch.no_grad():
                player.after()

    return lambda: model.round(plan, batches, update), buffers


def fill(buffers: list[dict[str, Tensor]], data: genzoo.Dataset) -> None:
    """Put random rows into the buffers."""
    for buffer in buffers:
        for name, into in buffer.items():
            stored = data.train[name]
            rows = torch.randint(len(stored), (len(into),), device=stored.device)
            into.copy_(data.prepare(stored.index_select(0, rows)))


VARIANTS: Mapping[str, Callable[..., Speed | None]] = {
    "eager": by_fit,
    "bf16-mixed": partial(by_fit, precision="bf16-mixed"),
    "channels last": partial(by_fit, kind=ChannelsLast, layout=torch.channels_last),
    "compiled": partial(by_fit, compile=True),
    "CUDA graph": by_graph,
}


def attempt(variant: Callable[..., Speed | None], *arguments: Any) -> Speed | None:
    """The speed of a variant, or the first line of the error that it fails with."""
    try:
        return variant(*arguments)
    except Exception as error:
        return {"error": (str(error).strip() or type(error).__name__).splitlines()[0]}
    finally:  # the next one starts from nothing
        torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def page(result: Mapping[str, Any]) -> str:
    def cell(found: Speed | None) -> str:
        if found is None:
            return "-"
        if "error" in found:
            return "fails: " + found["error"].replace("|", "\\|")
        return f"{found['images_per_second']:,.0f} ({found['step_ms']:.2f} ms)"

    lines = [
        "# Images a second on a GPU",
        "",
        f"Training on made-up images of {'x'.join(map(str, result['shape']))} that live on the device, batch {result['batch']}:",
        "images that the losses read a second, and in brackets the time of a round; a model with five critic steps reads five",
        f"batches in it. Medians of {INTERVALS - 1} intervals of {result['steps']} rounds, after one that warms up. All but the",
        "last column are `genzoo.fit`; the CUDA graph is a round by hand, in which nothing is launched from Python.",
        "",
        words(result, f"genzoo {genzoo.__version__}") + f" Trained on: {result['device']}.",
        "",
        "| model | " + " | ".join(VARIANTS) + " |",
        "|---|" + "--:|" * len(VARIANTS),
        *(f"| {name} | " + " | ".join(map(cell, found.values())) + " |" for name, found in result["models"].items()),
    ]
    changed = [f"- {name}: `{json.dumps(dict(SETTINGS[name]))}`" for name in result["models"] if name in SETTINGS]
    if changed:
        lines += ["", "Networks that are not the defaults:", "", *changed]
    return "\n".join([*lines, "", "```", result["command"], "```", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=200, help="rounds an interval")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--shape", type=int, nargs=3, default=(1, 32, 32))
    parser.add_argument("--models", nargs="+", default=built_in())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/gpu"))
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here; --device cpu --steps 5 goes through the rest.")
    shape = tuple(options.shape)
    models: dict[str, dict[str, Speed | None]] = {}
    for name in options.models:
        models[name] = {}
        for label, variant in VARIANTS.items():
            models[name][label] = attempt(variant, name, shape, options.device, options.batch, options.steps)
            print(name, label, models[name][label], flush=True)
    result = {
        **machine(),
        "command": " ".join(["python benchmarks/gpu.py", *sys.argv[1:]]),
        "device": device_name(options.device),
        "shape": shape,
        "batch": options.batch,
        "steps": options.steps,
        "models": models,
    }
    write(options.out, result, page(result))


if __name__ == "__main__":
    main()
