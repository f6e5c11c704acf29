"""Check that a refactoring changes no result: train four recipes with two commits and compare bits.

    python benchmarks/same_bits.py 6b086b3

trains each recipe for 100 steps on the CPU, once with the named commit and once with the working
tree, and compares all weights. Nothing is stored: both sides run on this machine, one after the
other. The exit code is 1 if any bit differs. It takes about four minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("vae-digits", "wgan-gp-digits", "nade-digits", "pixel-rnn-digits")


def train(root: Path, recipe: str, out: Path, steps: int) -> dict[str, torch.Tensor]:
    """Train a recipe with the package in `root`; return the weights, averaged ones included."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "genzoo", "train", str(root / "recipes" / f"{recipe}.toml")]
    options = [f"train.steps={steps}", 'train.device="cpu"', "--out", str(out)]
    subprocess.run([*command, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
    weights = {}
    for file in sorted(out.glob("model*.safetensors")):
        weights.update({f"{file.stem}/{name}": x for name, x in load_file(file).items()})
    return weights


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bytes of a tensor: NaNs and signed zeros compare as what they are."""
    return tensor.reshape(-1).view(torch.uint8)


def differing(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of the weights that are not equal, bit for bit, on both sides."""
    names = old.keys() ^ new.keys()
    for name in old.keys() & new.keys():
        same_type = old[name].dtype == new[name].dtype and old[name].shape == new[name].shape
        if not same_type or not torch.equal(bits(old[name]), bits(new[name])):
            names = {*names, name}
    return sorted(names)


def main() -> int:
    """Compare the working tree with a commit, and print one line for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="the commit to compare with, such as HEAD~1")
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    changed = False
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        before.mkdir()
        archive = subprocess.run(
            ["git", "archive", arguments.commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x"], cwd=before, check=True, input=archive.stdout)
        for recipe in RECIPES:
            old = train(before, recipe, Path(folder) / "old" / recipe, arguments.steps)
            new = train(ROOT, recipe, Path(folder) / "new" / recipe, arguments.steps)
            names = differing(old, new)
            changed = changed or bool(names)
            result = f"differs in {', '.join(names[:3])}" if names else "the same bits"
            print(f"{recipe}: {result} ({len(new)} tensors, {arguments.steps} steps)", flush=True)
    return int(changed)


if __name__ == "__main__":
    sys.exit(main())
