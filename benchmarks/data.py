"""Benchmark tar shards: images per second, memory, time to the first batch, and a killed run.

The images are noise at several scales, as JPEG files of about 3 KB, in shards and as loose files.
They are written to `--folder` once. Three ways to read them interleave in one process, in
alternating order, and each has the same number of DataLoader workers:

- genzoo: `Stream` over the dataset `shards`;
- webdataset: its pipeline and `WebLoader`, with a shuffle buffer of 5,000 images;
- ImageFolder: a torch `DataLoader` over loose files, as torchvision reads them.

All of them yield shuffled float batches with labels. Run `python benchmarks/data.py`;
`benchmarks/requirements.txt` explains how to install webdataset.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine, machine, write
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import genzoo
from genzoo.data.stream import Stream

BATCH = 128
CLASSES = 10
CPU = torch.device("cpu")
PROBE = """
import json, resource, sys, time
import torch
from itertools import islice
import genzoo
from genzoo.data.stream import Stream

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

table, batches = json.loads(sys.argv[1]), int(sys.argv[2])
genzoo.build({"name": "digits"}, "datasets")
before, begin = peak(), time.perf_counter()
data = genzoo.build(table, "datasets")
stream = Stream(data, ("x", "y"), 128, seed=0, device=torch.device("cpu"))
next(stream.batches())
first, begin = time.perf_counter() - begin, time.perf_counter()
next(stream.batches(10**6))
resumed = time.perf_counter() - begin
for _ in islice(stream.batches(), batches):
    pass
print(json.dumps({"first": first, "resume": resumed, "mib": peak() - before}))
"""
TRAIN = """
import json, os, signal, sys
import genzoo
from genzoo.train.artifacts import Artifacts

saved = Artifacts.save_checkpoint
def save(self, state):
    saved(self, state)
    if state["round"] == 10:
        os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "kill":
    Artifacts.save_checkpoint = save
part = {"name": "mlp", "hidden": (16,)}
genzoo.fit(
    {"name": "vae", "encoder": part, "decoder": part}, json.loads(sys.argv[1]), sys.argv[2],
    steps=20, checkpoint_every=10, sample_every=100, workers=1, progress=False,
    resume=sys.argv[3] == "resume",
)
"""
SIMULATED = """
import json, resource, sys, time
import numpy as np, torch
from genzoo.contract import Dataset
from genzoo.data.stream import Stream

class Numbers:
    dtype = np.dtype(np.int64)
    def __init__(self, rows, block):
        self.shape, self.block = (rows, 1), block
    def __len__(self):
        return self.shape[0]
    def __getitem__(self, rows):
        return rows[:, None]

def measure(rows, start):
    begin = time.process_time()
    stream = Stream(Dataset({"x": Numbers(rows, 500)}), ("x",), 128, seed=0, device=CPU)
    next(stream.batches(start))
    return time.process_time() - begin

CPU = torch.device("cpu")
measure(10**4, 0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
first = measure(10**9, 0)
resumed = max(measure(10**9, start) for start in (1, 3 * 10**6, 7_812_499, 10**8))
mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps({"first": first, "resume": resumed, "mib": mib}))
"""


def jpeg(number: int, size: int) -> bytes:
    """Return an image of noise at several scales."""
    noise = np.random.default_rng(number)
    pixels = np.zeros((size, size, 3))
    for scale in (size // 16, size // 4, size // 2, size):
        coarse = Image.fromarray(noise.integers(0, 256, (scale, scale, 3), dtype=np.uint8))
        pixels += np.asarray(coarse.resize((size, size), Image.Resampling.BILINEAR)) / scale
    pixels = 255 * (pixels - pixels.min()) / np.ptp(pixels)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def contents(images: int, size: int) -> Iterator[bytes]:
    """Yield files with different contents, of 5,000 different images."""
    different = [jpeg(number, size) for number in range(min(images, 5000))]
    for number in range(images):
        # readers ignore what follows the end of an image
        yield different[number % len(different)] + number.to_bytes(8)


def make(folder: Path, images: int, size: int, per_shard: int) -> None:
    """Write the images as shards and as loose files in folders of classes, if they are missing."""
    done = folder / "done"
    if done.exists():
        return
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    for label in range(CLASSES):
        (folder / "loose" / str(label)).mkdir(parents=True, exist_ok=True)
    files = contents(images, size)
    for begin in range(0, images, per_shard):
        path = folder / "shards" / f"images-{begin // per_shard:04}.tar"
        with tarfile.open(path, "w") as tar:
            for number in range(begin, min(begin + per_shard, images)):
                label = number % CLASSES
                content = next(files)
                (folder / "loose" / str(label) / f"{number:07}.jpg").write_bytes(content)
                for name, data in (("jpg", content), ("cls", str(label).encode())):
                    member = tarfile.TarInfo(f"{number:07}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    done.touch()


def by_genzoo(folder: Path, workers: int) -> Iterator[Any]:
    size = int(folder.name.partition("x")[2])
    table = {"name": "shards", "path": str(folder / "shards"), "size": size, "test_fraction": 0}
    data = genzoo.build(table, "datasets")
    stream = Stream(data, ("x", "y"), BATCH, seed=0, device=CPU, workers=workers)
    return stream.batches()


def by_webdataset(folder: Path, workers: int) -> Iterator[Any]:
    import webdataset

    shards = sorted(map(str, (folder / "shards").glob("*.tar")))
    options = {"shardshuffle": len(shards), "empty_check": False}
    rows = webdataset.WebDataset(shards, **options).shuffle(5000)
    batches = rows.decode("torchrgb8").to_tuple("jpg", "cls").batched(BATCH, partial=False)
    loader = webdataset.WebLoader(batches, batch_size=None, num_workers=workers)
    for x, y in loader:
        yield {"x": torch.as_tensor(x).float().div_(255), "y": torch.as_tensor(y)}


class Files(Dataset[Any]):
    """Loose files, read as torchvision's `ImageFolder` with `ToTensor` reads them."""

    def __init__(self, folder: Path) -> None:
        self.files = [
            (os.fspath(path), int(path.parent.name)) for path in sorted(folder.glob("*/*.jpg"))
        ]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[row]
        with open(path, "rb") as file, Image.open(file) as image:  # noqa: PTH123
            pixels = np.array(image.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div(255), label


def by_image_folder(folder: Path, workers: int) -> Iterator[Any]:
    files = Files(folder / "loose")
    for x, y in DataLoader(files, BATCH, shuffle=True, num_workers=workers, drop_last=True):
        yield {"x": x, "y": y}


LOADERS: dict[str, Callable[[Path, int], Iterator[Any]]] = {
    "genzoo": by_genzoo,
    "webdataset": by_webdataset,
    "ImageFolder": by_image_folder,
}


def rate(batches: Iterator[Any], count: int, clock: Callable[[], float]) -> float:
    """Return images per second of a clock, after as many batches as workers prefetch."""
    for _ in islice(batches, 10):
        pass
    begin = clock()
    images = sum(len(batch["x"]) for batch in islice(batches, count))
    seconds = clock() - begin
    assert images == count * BATCH
    return images / seconds


def race(folder: Path, workers: int, rounds: int, count: int) -> dict[str, dict[str, Any]]:
    """Return the median rate of each loader, and the median of genzoo's rate over it.

    Without workers, rates are per CPU second, which other work on the machine affects less.
    """
    clock = time.perf_counter if workers else time.process_time
    rates: dict[str, list[float]] = {name: [] for name in LOADERS}
    for number in range(rounds):
        for name in [*LOADERS] if number % 2 else [*reversed(LOADERS)]:
            batches = LOADERS[name](folder, workers)
            rates[name].append(rate(batches, count, clock))
            del batches
    return {
        name: {
            "rate": statistics.median(values),
            "ratio": statistics.median(
                ours / theirs for ours, theirs in zip(rates["genzoo"], values, strict=True)
            ),
        }
        for name, values in rates.items()
    }


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=root, capture_output=True, text=True
    )


def measured(code: str, *arguments: str) -> dict[str, float]:
    """Return the numbers that code prints in a fresh process."""
    process = run(code, *arguments)
    if process.returncode:
        raise SystemExit(process.stderr)
    return json.loads(process.stdout.splitlines()[-1])


def survives_kill(folder: Path, table: Mapping[str, Any]) -> bool:
    """Return whether a run that is killed and resumed has the weights of one that is not."""
    out = folder / f"runs-{os.getpid()}"
    text = json.dumps(table)
    for name, how in (("whole", "go"), ("killed", "kill"), ("killed", "resume")):
        process = run(TRAIN, text, str(out / name), how)
        if process.returncode != (-signal.SIGKILL if how == "kill" else 0):
            raise SystemExit(process.stderr)
    whole, killed = (genzoo.load(out / name).state_dict() for name in ("whole", "killed"))
    return all(torch.equal(whole[name], killed[name]) for name in whole)


def main() -> None:
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--per-shard", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--probe", type=int, default=400, help="batches to read for the memory")
    parser.add_argument("--batches", type=int, default=64, help="batches of a segment")
    parser.add_argument("--folder", type=Path, default=root / "build" / "data")
    parser.add_argument("--out", type=Path, default=root / "docs" / "benchmarks" / "data")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.folder / f"{options.images}x{options.size}"
    os.environ["GENZOO_DATA"] = str(folder / "index")
    make(folder, options.images, options.size, options.per_shard)
    table = {"name": "shards", "path": str(folder / "shards"), "size": options.size}
    begin = time.perf_counter()
    genzoo.build(table, "datasets")
    indexing = time.perf_counter() - begin
    result = {
        **machine(),
        "command": " ".join(["python", "benchmarks/data.py", *sys.argv[1:]]),
        "images": options.images,
        "size": options.size,
        "bytes": sum(file.stat().st_size for file in (folder / "shards").glob("*.tar")),
        "indexing": indexing,
        "batches": options.probe,
        "probe": measured(PROBE, json.dumps(table), str(options.probe)),
        "simulated": measured(SIMULATED),
        "survives": survives_kill(folder, table),
        "load": os.getloadavg()[2],
        "cores": len(os.sched_getaffinity(0)),
        "race": {
            str(workers): race(folder, workers, options.rounds, options.batches)
            for workers in options.workers
        },
    }
    write(options.out, result, page(result))


def page(result: Mapping[str, Any]) -> str:
    probe, simulated = result["probe"], result["simulated"]
    survives = "equal" if result["survives"] else "DIFFERENT"
    lines = [
        "# Reading tar shards",
        "",
        f"The data are {result['images']:,} JPEG images of {result['size']}x{result['size']}",
        f"pixels with labels, {result['bytes'] / 2**20:,.0f} MiB of tar shards in the page cache.",
        f"The table lists images per second on {result['cores']} core(s), as shuffled float",
        f"batches of {BATCH} with labels: of CPU time without workers, and of wall time with them.",
        "genzoo reads the dataset `shards`, webdataset is its own pipeline and loader with a",
        "shuffle buffer of 5,000 images, and ImageFolder is a torch `DataLoader` over loose files.",
        "Values are medians over interleaved rounds in one process. A ratio above 1 means that",
        f"genzoo is faster. The load average of the machine was {result['load']:.1f}: other work",
        "made wall times longer.",
        "",
        describe_machine(result, "webdataset 1.0.2"),
        "",
        "| workers | loader | images/s | genzoo / loader |",
        "|--:|---|--:|--:|",
    ]
    for workers, loaders in result["race"].items():
        for name, entry in loaders.items():
            ratio = "" if name == "genzoo" else f"{entry['ratio']:.2f}"
            lines.append(f"| {workers} | {name} | {entry['rate']:,.0f} | {ratio} |")
    lines += [
        "",
        "| quantity | shards, wall time | a simulated column of 10^9 rows, CPU time |",
        "|---|--:|--:|",
        f"| index, built once, s | {result['indexing']:.1f} | |",
        f"| dataset and first batch, once indexed, ms | {1e3 * probe['first']:,.0f} "
        f"| {1e3 * simulated['first']:,.0f} |",
        f"| first batch of a resume, ms | {1e3 * probe['resume']:,.0f} "
        f"| {1e3 * simulated['resume']:,.0f} |",
        f"| peak memory in addition to torch and genzoo, {result['batches']} batches, MiB "
        f"| {probe['mib']:,.0f} "
        f"| {simulated['mib']:,.0f} |",
        "",
        "A run was killed with SIGKILL after 10 of 20 steps and resumed. Its weights and those of",
        f"a run without interruption are {survives}.",
    ]
    return "\n".join([*lines, "", "```", result["command"], "```", ""])


if __name__ == "__main__":
    main()
