"""Benchmark every built-in model on a GPU: images per second, and the time per round.

The variants are eager, bfloat16, channels last, compiled, and a CUDA graph. All variants except the
last use `genzoo.fit` on data that live on the device. The CUDA graph contains a complete round on
static buffers. It shows the cost of a round without launches from Python. For explicit models,
which generate one number after the other, the benchmark also measures samples: eager, and as one
CUDA graph. If a variant fails, the page shows the first line of its error.

Run `python benchmarks/gpu.py`. On a machine without a GPU, `--device cpu --steps 5` runs everything
except the CUDA graphs. They were tested as plain rounds and plain samples on a CPU; their capture
was not tested.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine, machine, write
from torch import Tensor
from train_overhead import device_name

import genzoo
from genzoo.contract import Batch, Model, Player
from genzoo.contract.dataset import is_image
from genzoo.distributed import uniform
from genzoo.registry.lookup import registry
from genzoo.train.optimizers import make_optimizer

_CONV = {"name": "conv", "channels": (64, 128)}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "vae": {"encoder": _CONV, "decoder": _CONV},
    "wae-mmd": {"encoder": _CONV, "decoder": _CONV},
    "wae-gan": {"encoder": _CONV, "decoder": _CONV},
    "rnade": {"hidden": 500},
    "pixel-rnn": {"hidden": 64, "head": 64},
    "wgan-gp": {
        "critic_steps": 5,
        "generator": {**_CONV, "norm": "batch"},
        "critic": {**_CONV, "norm": "layer"},
    },
}
"""What a model is built with, where its defaults give a GPU little to do."""
LAYERS: Mapping[str, tuple[str, ...]] = {"pixel-rnn": ("diagonal-bilstm", "row-lstm", "conv")}
"""Layers that sample in ways of their own."""
ROWS, INTERVALS, DRAWS = 12_800, 4, 64
Speed = dict[str, Any]


@dataclass(frozen=True)
class ChannelsLast(genzoo.Dataset):
    """A dataset whose images reach the model with their channels last in memory."""

    def prepare(
        self,
        stored: Tensor,
        dtype: torch.dtype | None = None,
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        x = super().prepare(stored, dtype, change)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def built_in() -> list[str]:
    """Return the models that come with genzoo."""
    return [
        name
        for name, claims in sorted(registry("models").registrations().items())
        if claims[0].origin == "genzoo"
    ]


def build(name: str, shape: tuple[int, ...], **settings: Any) -> Model:
    torch.manual_seed(0)
    return genzoo.build({"name": name, **SETTINGS.get(name, {}), **settings}, shape=shape)


def columns(model: Model) -> dict[str, Tensor]:
    """Return random rows for a model; images are levels, as in datasets."""
    batch, top = model.example(ROWS), levels(model) - 1
    rows = {model.inputs[0]: batch} if isinstance(batch, Tensor) else dict(batch)
    return {
        name: (x * top).round().byte() if x.is_floating_point() and is_image(x.shape[1:]) else x
        for name, x in rows.items()
    }


def levels(model: Model) -> int:
    """Return the number of values that a stored number can have.

    It is the number of levels that the model supports, or 256.
    """
    return getattr(model, "levels", None) or 256


def by_fit(
    name: str,
    shape: tuple[int, ...],
    device: str,
    batch: int,
    steps: int,
    kind: type[genzoo.Dataset] = genzoo.Dataset,
    layout: torch.memory_format = torch.preserve_format,
    **settings: Any,
) -> Speed | None:
    """Measure the speed of `fit`, without the first interval of the log, in which a compiler works.

    Returns:
        None for a model that is fitted in closed form, which makes no steps.
    """
    model = build(name, shape).to(memory_format=layout)
    if hasattr(model, "solve"):
        return None
    data = kind(columns(model), levels=levels(model))
    run = genzoo.fit(
        model,
        data,
        device=device,
        batch_size=batch,
        steps=INTERVALS * steps,
        log_every=steps,
        progress=False,
        **settings,
    )
    marks = [line["seconds"] for line in run.history]
    rates = [line["images_per_second"] for line in run.history[1:]]
    step = statistics.median(after - before for before, after in pairwise(marks)) / steps
    return {"images_per_second": statistics.median(rates), "step_ms": 1e3 * step}


def by_graph(
    name: str, shape: tuple[int, ...], device: str, batch: int, steps: int
) -> Speed | None:
    """Measure a complete round as one CUDA graph; return None without CUDA."""
    if not device.startswith("cuda"):
        return None
    model = build(name, shape)
    data = genzoo.Dataset(
        {key: x.to(device) for key, x in columns(model).items()}, levels=levels(model)
    )
    play, buffers = game(model.to(device).train(), data, batch)
    graph = captured(play)
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


def captured(play: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """Capture the work of a function as a CUDA graph.

    The function must work in place, on tensors that keep their addresses.
    """
    side = torch.cuda.Stream()  # the setup of libraries at a first call must not be captured
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            play()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        play()
    return graph


def steps_in_round(player: Player, round: int) -> int:
    """Return the number of steps that a player makes in a round."""
    steps = player.steps_per_round
    return steps(round) if callable(steps) else steps


def game(
    model: Model, data: genzoo.Dataset, batch: int
) -> tuple[Callable[[], None], list[dict[str, Tensor]]]:
    """Return a function that plays a round, and the static buffers of its batches.

    A buffer is a mapping from columns to tensors. Each call launches the same work and reads no
    number back, so a CUDA graph can contain it.
    """
    late = 10**6  # past any warm-up
    plan = [(player, steps_in_round(player, late)) for player in model.players()]
    plan = [(player, steps) for player, steps in plan if steps]
    owned = {player.name: player.parameters() for player, _ in plan}
    graphs = {"capturable": True} if model.reference_tensor.is_cuda else {}
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizers = {
        player.name: make_optimizer(
            {names[p]: p for p in owned[player.name]}, {**player.optimizer, **graphs}, player.name
        )
        for player, _ in plan
    }
    first = {name: data.prepare(x[:batch]) for name, x in data.train.items()}
    buffers = [
        {name: x.clone() for name, x in first.items()}
        for _ in range(max(steps for _, steps in plan))
    ]
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

    def play() -> None:
        for player, steps in plan:
            for batch in batches[len(batches) - steps :]:
                update(player, batch)

    return play, buffers


def fill(buffers: list[dict[str, Tensor]], data: genzoo.Dataset) -> None:
    """Put random rows into the buffers."""
    for buffer in buffers:
        for name, into in buffer.items():
            stored = data.train[name]
            rows = torch.randint(len(stored), (len(into),), device=stored.device)
            into.copy_(data.prepare(stored.index_select(0, rows)))


def explicit(names: Sequence[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the models that can complete an example: label -> name and settings.

    These models generate one number after the other.
    """
    labeled: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in names:
        if hasattr(registry("models").get(name), "complete"):
            cases = {f"{name}, {layer}": (name, {"layer": layer}) for layer in LAYERS.get(name, ())}
            labeled |= cases or {name: (name, {})}
    return labeled


def samples(name: str, shape: tuple[int, ...], device: str, **settings: Any) -> Speed:
    """Measure `sample`."""
    model = build(name, shape, **settings).to(device).eval()
    return drawing_speed(lambda: model.sample(DRAWS), device)


def samples_by_graph(
    name: str, shape: tuple[int, ...], device: str, **settings: Any
) -> Speed | None:
    """Measure `sample` as one CUDA graph; return None without CUDA."""
    if not device.startswith("cuda"):
        return None
    draw, u = drawing(build(name, shape, **settings).to(device).eval())
    graph = captured(draw)

    def play() -> None:
        u.uniform_()
        graph.replay()

    return drawing_speed(play, device)


def drawing(model: Any) -> tuple[Callable[[], Tensor], Tensor]:
    """Return a function that samples from a static buffer of uniform numbers, and the buffer."""
    u = uniform(DRAWS, *model.shape, *model.uniforms, like=model.reference_tensor)

    @torch.no_grad()
    def draw() -> Tensor:
        return model.draw(u, None, None, None)

    return draw, u


def drawing_speed(play: Callable[[], object], device: str) -> Speed:
    """Return samples per second. The first call, which sets up libraries, is not counted."""
    times = []
    for _ in range(INTERVALS):
        begin = time.perf_counter()
        play()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    seconds = statistics.median(times[1:])
    return {"samples_per_second": DRAWS / seconds, "draw_ms": 1e3 * seconds}


DRAWINGS: Mapping[str, Callable[..., Speed | None]] = {
    "eager": samples,
    "CUDA graph": samples_by_graph,
}
VARIANTS: Mapping[str, Callable[..., Speed | None]] = {
    "eager": by_fit,
    "bf16-mixed": partial(by_fit, precision="bf16-mixed"),
    "channels last": partial(by_fit, kind=ChannelsLast, layout=torch.channels_last),
    "compiled": partial(by_fit, compile=True),
    "CUDA graph": by_graph,
}


def attempt(variant: Callable[..., Speed | None], *arguments: Any, **settings: Any) -> Speed | None:
    """Return the speed of a variant, or the first line of its error."""
    try:
        return variant(*arguments, **settings)
    except Exception as error:
        return {"error": (str(error).strip() or type(error).__name__).splitlines()[0]}
    finally:  # the next variant starts with empty memory
        torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def page(result: Mapping[str, Any]) -> str:
    def cell(speed: Speed | None) -> str:
        if speed is None:
            return "-"
        if "error" in speed:
            return "fails: " + speed["error"].replace("|", "\\|")
        rate, ms = speed.values()
        return f"{rate:,.0f} ({ms:.2f} ms)"

    lines = [
        "# Images per second on a GPU",
        "",
        f"Training on random images of shape {'x'.join(map(str, result['shape']))} that live on "
        f"the device, with batches of {result['batch']}.",
        "The table shows images per second in the losses and, in brackets, the time per round.",
        "A model with five critic steps reads five batches per round.",
        f"Values are medians of {INTERVALS - 1} intervals of {result['steps']} rounds, after one "
        "interval that warms up.",
        "All columns except the last use `genzoo.fit`. The CUDA graph is a handwritten round, "
        "without launches from Python.",
        "",
        describe_machine(result, f"genzoo {genzoo.__version__}")
        + f" Trained on: {result['device']}.",
        "",
        "| model | " + " | ".join(VARIANTS) + " |",
        "|---|" + "--:|" * len(VARIANTS),
        *(
            f"| {name} | " + " | ".join(map(cell, speeds.values())) + " |"
            for name, speeds in result["models"].items()
        ),
    ]
    if result["samples"]:
        lines += [
            "",
            f"Samples per second of models that generate one number after the other, {DRAWS} "
            "samples at once, and in brackets the time of one call.",
            f"Values are medians of {INTERVALS - 1} calls after one that warms up.",
            "The CUDA graph contains the complete call, from uniform numbers in a static buffer.",
            "",
            "| model | " + " | ".join(DRAWINGS) + " |",
            "|---|" + "--:|" * len(DRAWINGS),
            *(
                f"| {label} | " + " | ".join(map(cell, speeds.values())) + " |"
                for label, speeds in result["samples"].items()
            ),
        ]
    changed = [
        f"- {name}: `{json.dumps(dict(SETTINGS[name]))}`"
        for name in result["models"]
        if name in SETTINGS
    ]
    if changed:
        lines += ["", "Networks that are not the defaults:", "", *changed]
    return "\n".join([*lines, "", "```", result["command"], "```", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=200, help="rounds per interval")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--shape", type=int, nargs=3, default=(1, 32, 32))
    parser.add_argument("--models", nargs="+", default=built_in())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/gpu"))
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device; --device cpu --steps 5 runs everything else.")
    shape = tuple(options.shape)
    models: dict[str, dict[str, Speed | None]] = {}
    for name in options.models:
        models[name] = {}
        for label, variant in VARIANTS.items():
            models[name][label] = attempt(
                variant, name, shape, options.device, options.batch, options.steps
            )
            print(name, label, models[name][label], flush=True)
    sample_speeds: dict[str, dict[str, Speed | None]] = {}
    for label, (name, settings) in explicit(options.models).items():
        sample_speeds[label] = {}
        for way, variant in DRAWINGS.items():
            sample_speeds[label][way] = attempt(variant, name, shape, options.device, **settings)
            print(label, way, sample_speeds[label][way], flush=True)
    result = {
        **machine(),
        "command": " ".join(["python benchmarks/gpu.py", *sys.argv[1:]]),
        "device": device_name(options.device),
        "shape": shape,
        "batch": options.batch,
        "steps": options.steps,
        "models": models,
        "samples": sample_speeds,
    }
    write(options.out, result, page(result))


if __name__ == "__main__":
    main()
