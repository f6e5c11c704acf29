"""Benchmark the trainer: images per second, compared with a handwritten loop and with pythae.

The handwritten loop has the same model, the same fused optimizer, and the same data on the device,
and nothing else: no seed per step, no log, and no ownership. Segments interleave in one process, in
alternating order, so that other work on the machine affects all alike.

Run `python benchmarks/train_overhead.py`, with `--device cuda` on a GPU.
`benchmarks/requirements.txt` explains how to install pythae.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from machine import INSTALL, describe_machine, machine, write
from torch import Tensor

import genzoo

BATCH = 128
_MLP = {"encoder": "mlp", "decoder": "mlp"}
_CONV = {"name": "conv", "channels": (32, 64)}
_TRANSPOSED = {**_CONV, "upsample": "transposed"}
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "VAE, mlp": ({"name": "vae", **_MLP}, 300),
    "VAE, conv": ({"name": "vae", "encoder": _CONV, "decoder": _TRANSPOSED}, 90),
    "WAE-MMD, mlp": ({"name": "wae-mmd", **_MLP}, 300),
}
"""Model and steps a segment."""


def images(rows: int = 12800) -> Tensor:
    """Return Fashion-MNIST if it is installed, else noise. The speed is the same."""
    try:
        return torch.as_tensor(genzoo.build("fashion-mnist", "datasets").train["x"])[:rows]
    except genzoo.GenzooError:
        return torch.randint(
            0, 256, (rows, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )


def batches(data: Tensor, size: int) -> Iterator[Tensor]:
    """Yield endless batches in [0, 1] from levels on the device, with a new order in each pass."""
    while True:
        order = torch.randperm(len(data)).to(data.device)
        for rows in order[: len(data) // size * size].split(size):
            yield data.index_select(0, rows).float().div_(255)


def by_hand(table: Mapping[str, Any], data: Tensor, steps: int) -> Callable[[], object]:
    def train() -> None:
        torch.manual_seed(0)
        model = genzoo.build(table, shape=tuple(data.shape[1:])).to(data.device)
        settings = {k: v for k, v in model.players()[0].optimizer.items() if k != "name"}
        optimizer = torch.optim.Adam(model.parameters(), fused=True, **settings)
        for x in islice(batches(data, BATCH), steps):
            optimizer.zero_grad()
            model.loss(x)["loss"].backward()
            optimizer.step()

    return train


def by_fit(
    table: Mapping[str, Any], data: Tensor, steps: int, batch: int = BATCH
) -> Callable[[], object]:
    return lambda: genzoo.fit(
        table, data, steps=steps, batch_size=batch, device=str(data.device), progress=False
    )


def by_pythae(data: Tensor, steps: int) -> Callable[[], object]:
    """Train one epoch with pythae's trainer and its default networks.

    The epoch has as many images as `steps` batches.
    """
    try:
        from pythae.data.datasets import BaseDataset
        from pythae.models import WAE_MMD, WAE_MMD_Config
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}. To compare with pythae: {INSTALL}") from None
    x = data[: steps * BATCH].float() / 255
    dataset = BaseDataset(x, torch.zeros(len(x)))

    def train() -> None:
        torch.manual_seed(0)
        model = WAE_MMD(WAE_MMD_Config(input_dim=tuple(data.shape[1:]), latent_dim=16))
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=1e-3,
                no_cuda=data.device.type == "cpu",
            )
            trainer = BaseTrainer(model, dataset, training_config=config)
            trainer.prepare_training()
            trainer.model.train()
            trainer.train_step(1)

    return train


def race(
    names: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Return CPU and wall seconds of each segment, without the first round, which warms up."""
    timings: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in names}
    for turn in range(rounds + 1):
        order = list(names.items())
        for name, segment in order if turn % 2 else order[::-1]:
            wall, cpu = time.perf_counter(), time.process_time()
            segment()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                timings[name]["cpu"].append(time.process_time() - cpu)
                timings[name]["wall"].append(time.perf_counter() - wall)
    return timings


def ratio(
    timings: Mapping[str, Mapping[str, list[float]]], ours: str, peer: str, clock: str
) -> float:
    """Return the median over rounds of our images per second divided by theirs."""
    return statistics.median(
        b / a for a, b in zip(timings[ours][clock], timings[peer][clock], strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu or cuda; on a GPU, the ratio of wall time counts",
    )
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/train-overhead"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = images().to(options.device)
    rows = []
    for case, (table, steps) in CASES.items():
        timings = race(
            {"genzoo": by_fit(table, data, steps), "by hand": by_hand(table, data, steps)},
            options.rounds,
        )
        rows.append(row(case, "by hand", timings, steps * BATCH))
    steps = 100
    net = {"name": "mlp", "hidden": [512], "activation": "relu"}
    # as in pythae; the default, a closed form, does less work
    sampled = {
        "name": "mmd",
        "estimator": "sampled",
    }
    same = {
        "name": "wae-mmd",
        "latent_dim": 16,
        "encoder": net,
        "decoder": net,
        "divergence": sampled,
    }
    timings = race(
        {"genzoo": by_fit(same, data, steps), "pythae": by_pythae(data, steps)}, options.rounds
    )
    rows.append(row("WAE-MMD, pythae's default nets", "pythae", timings, steps * BATCH))
    command = f"python benchmarks/train_overhead.py --device {options.device}"
    result = {
        **machine(),
        "command": command,
        "device": device_name(options.device),
        "rounds": options.rounds,
        "threads": options.threads,
        "rows": rows,
    }
    write(options.out, result, page(result))


def row(
    case: str, other: str, timings: Mapping[str, Mapping[str, list[float]]], images: int
) -> dict[str, Any]:
    """Return a row of the table for segments with the same number of images."""
    cpu = {name: statistics.median(times["cpu"]) for name, times in timings.items()}
    rates = {name: images / seconds for name, seconds in cpu.items()}
    ratios = {clock: ratio(timings, "genzoo", other, clock) for clock in ("cpu", "wall")}
    return {"case": case, "other": other, "images_per_cpu_second": rates, "ratio": ratios}


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device.startswith("cuda") else device


def markdown(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return rows as lines of Markdown."""
    lines = [
        "| case | compared with | genzoo, images/s | other, images/s "
        "| ratio of CPU time | ratio of wall time |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for entry in rows:
        rates = entry["images_per_cpu_second"]
        lines.append(
            f"| {entry['case']} | {entry['other']} "
            f"| {rates['genzoo']:,.0f} | {rates[entry['other']]:,.0f} "
            f"| {entry['ratio']['cpu']:.3f} | {entry['ratio']['wall']:.3f} |"
        )
    return lines


def page(result: Mapping[str, Any]) -> str:
    lines = [
        "# Trainer overhead",
        "",
        "The table compares `genzoo.fit` with a handwritten loop and with pythae's trainer. It",
        "lists images per CPU second; the time of `genzoo.fit` includes startup and shutdown. The",
        f"setup is 28x28 images, batch size {BATCH}, and {result['threads']} thread. Values are",
        f"medians over {result['rounds']} interleaved rounds in one process. A ratio above 1 means",
        "that genzoo is faster.",
        "",
        "The handwritten loop has the same model and loss, data on the device, and fused Adam.",
        "pythae's trainer uses its default networks, with the same sizes, and a kernel that",
        "recomputes the distances for each scale.",
        "",
        describe_machine(result) + f" Trained on: {result['device']}.",
        "",
        *markdown(result["rows"]),
    ]
    return "\n".join([*lines, "", "```", result["command"], "```", ""])


if __name__ == "__main__":
    main()
