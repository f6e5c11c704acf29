"""Train the feature networks that come with genzoo, and print their constants.

The constants belong in `genzoo/metrics/networks/classifiers.py`. Run `OMP_NUM_THREADS=1
python benchmarks/feature_networks.py`, which takes about two minutes. Other versions of torch and
other processors round differently, so their files and hashes differ. A file that is shipped
therefore gets a new version and new constants.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

import genzoo
from genzoo.metrics import DigitsCNN, FashionCNN
from genzoo.metrics.networks.classifiers import FOLDER, Classifier

DATA = {
    "fmnist-cnn": (FashionCNN.file, "fashion-mnist", 7),
    "digits-cnn": (DigitsCNN.file, "digits", 100),
}
"""File, dataset, and epochs."""
BATCH, RATE = 100, 2e-3


def train(name: str) -> tuple[Classifier, float]:
    """Train a network, and return it with float16 weights and its accuracy on test images."""
    file, data, epochs = DATA[name]
    dataset = genzoo.build(data, "datasets")

    def split(name: str) -> tuple[Tensor, Tensor]:
        columns = dataset.split(name)
        return dataset.prepare(torch.as_tensor(columns["x"])), torch.as_tensor(columns["y"])

    torch.manual_seed(0)
    network = Classifier(file.shape, file.dim)
    x, y = split("train")
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(
                network.classify(x[rows]), y[rows], label_smoothing=0.05
            ).backward()
            optimizer.step()
            schedule.step()
    x, y = split("test")
    with torch.no_grad():
        hits = network.half().float().classify(x).argmax(1) == y
    return network, hits.float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("networks", nargs="*", default=list(DATA))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in arguments.networks:
        network, accuracy = train(name)
        content = save({key: value.half() for key, value in network.state_dict().items()})
        path = arguments.out / DATA[name][0].path.name
        path.write_bytes(content)
        parameters = sum(p.numel() for p in network.parameters())
        print(
            f"{path}: {parameters:,} parameters, {len(content):,} bytes, "
            f"test accuracy {accuracy:.4f}"
        )
        print(f"SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
