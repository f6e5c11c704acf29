"""Benchmark adversarial training: its speed, and the sample quality of WAE-GAN.

The speed is that of `genzoo.fit` with DCGAN and WGAN-GP on Fashion-MNIST, padded to 32x32. It is
compared with a handwritten loop and with torchgan. The handwritten loop has the same networks and
data, separate losses, and a fused Adam.

The quality is the Fréchet distance of samples and reconstructions of a VAE, a WAE-MMD, and a
WAE-GAN with the same networks and an equal budget of CPU time. The results of each trained model
are stored in `build/adversarial/`, so an interrupted benchmark continues where it stopped.

Run `python benchmarks/adversarial.py --part all`. `benchmarks/requirements.txt` explains how to
install torchgan. The page keeps the numbers of a part that is not run.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from machine import INSTALL, describe_machine, machine, write
from torch import Tensor, nn
from torch.nn.functional import pad, softplus
from torch.utils.data import DataLoader
from train_overhead import batches, by_fit, images, markdown, race, row

import genzoo
from genzoo.data.stream import once
from genzoo.metrics import FashionCNN, FeatureStatistics, extract_features, frechet_distance

BATCH = 64
_NET = {"name": "conv", "channels": (32, 64, 128)}
_WGAN = {"name": "wgan-gp", "critic_steps": 5, "critic": _NET}
_WGAN["generator"] = {**_NET, "norm": "batch", "upsample": "transposed"}
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "DCGAN": ({"name": "dcgan", "channels": (32, 64)}, 16),
    "WGAN-GP, layer norm": ({**_WGAN, "critic": {**_NET, "norm": "layer"}}, 4),
    "WGAN-GP": (_WGAN, 4),
}
"""Model and rounds a segment: of one batch, and of five. The last is raced against torchgan too."""

SIZE = 10_000
"""Images of each kind that a Fréchet distance sees, at most."""
_MLP = {"encoder": "mlp", "decoder": "mlp"}
MODELS: dict[str, dict[str, Any]] = {
    "vae": {"name": "vae", "latent_dim": 8, **_MLP},
    "vae-bernoulli": {"name": "vae", "latent_dim": 8, "likelihood": "bernoulli", **_MLP},
    "wae-mmd": {"name": "wae-mmd", "latent_dim": 8, **_MLP},
    # the paper's critic, four layers of 512, would cost two thirds of the budget
    "wae-gan": {"name": "wae-gan", "latent_dim": 8, "critic": {"hidden": [256, 256]}, **_MLP},
}
MEASURES = {
    "squared_error": "squared error",
    "reconstruction": "reconstructions",
    "prior": "samples, prior",
    "mixture": "samples, mixture",
}
NETWORK = FashionCNN.file
_CPU = torch.device("cpu")
Numbers = dict[str, Any]


# Speed


def critic_loss(model: Any, x: Tensor) -> Tensor:
    """Return a handwritten critic loss on images in [-1, 1].

    The loss is cross-entropy, or the gap with a gradient penalty.
    """
    with torch.no_grad():
        fake = model.generator(model.prior.sample(len(x))).tanh()
    on_real, on_fake = model.critic(x), model.critic(fake)
    if model.penalty is None:
        return softplus(-on_real).mean() + softplus(on_fake).mean()
    between = fake + torch.rand(len(x), 1, 1, 1, device=x.device) * (x - fake)
    between.requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(between).sum(), between, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return on_fake.mean() - on_real.mean() + 10 * penalty


def generator_loss(model: Any, n: int) -> Tensor:
    """Return a handwritten generator loss on n generated images."""
    score = model.critic(model.generator(model.prior.sample(n)).tanh())
    return softplus(-score).mean() if model.penalty is None else -score.mean()


def by_hand(table: Mapping[str, Any], data: Tensor, rounds: int) -> Callable[[], object]:
    def train() -> None:
        torch.manual_seed(0)
        model = genzoo.build(table, shape=tuple(data.shape[1:])).to(data.device)
        settings = {k: v for k, v in model.optimizer.items() if k != "name"}
        adams = [
            torch.optim.Adam(net.parameters(), fused=True, **settings)
            for net in (model.critic, model.generator)
        ]

        def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        stream = batches(data, BATCH)
        for _ in range(rounds):
            model.critic.requires_grad_(True)
            for _ in range(model.critic_steps):
                step(adams[0], critic_loss(model, next(stream).mul_(2).sub_(1)))
            model.critic.requires_grad_(False)
            step(adams[1], generator_loss(model, BATCH))

    return train


def by_torchgan(table: Mapping[str, Any], data: Tensor, rounds: int) -> Callable[[], Any] | None:
    """Prepare an epoch of torchgan's trainer with genzoo's networks and optimizers.

    The epoch has the images of the given number of rounds and writes nothing.

    Returns:
        A function that trains and returns the trainer; None if torchgan is not installed.
    """
    try:
        with _stand_in():
            from torchgan.losses import (
                WassersteinDiscriminatorLoss,
                WassersteinGeneratorLoss,
                WassersteinGradientPenalty,
            )
            from torchgan.models import Discriminator, Generator
            from torchgan.trainer import Trainer
    except ModuleNotFoundError as error:
        print(f"{error}, so there is no comparison with torchgan: {INSTALL}")
        return None

    class G(Generator):
        def __init__(self, net: nn.Module, dim: int) -> None:
            super().__init__(dim)
            self.net = net

        def forward(self, z: Tensor) -> Tensor:
            return self.net(z).tanh()

    class D(Discriminator):
        def __init__(self, net: nn.Module) -> None:
            super().__init__(1)
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    shape = tuple(data.shape[1:])
    model = genzoo.build(table, shape=shape)
    x = data[: rounds * model.critic_steps * BATCH].cpu().float().div(127.5).sub(1)
    settings = {k: v for k, v in model.optimizer.items() if k != "name"}
    adam = {"name": torch.optim.Adam, "args": {**settings, "fused": True}}

    def train() -> Any:
        torch.manual_seed(0)
        model = genzoo.build(table, shape=shape)
        nets = {
            "generator": {"name": lambda: G(model.generator, model.latent_dim), "optimizer": adam},
            "discriminator": {"name": lambda: D(model.critic), "optimizer": adam},
        }
        losses = [
            WassersteinGeneratorLoss(),
            WassersteinDiscriminatorLoss(),
            WassersteinGradientPenalty(),
        ]
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            trainer = Trainer(
                nets,
                losses,
                device=data.device,
                ncritic=model.critic_steps,
                epochs=1,
                checkpoints=f"{folder}/model",
                recon=folder,
            )
            trainer.save_model = lambda *_: None
            trainer(DataLoader(x, BATCH, shuffle=True))
        return trainer

    return train


@contextmanager
def _stand_in() -> Iterator[None]:
    """Replace torchvision by the two functions that torchgan needs; they draw nothing.

    torchgan 0.1.0 calls `make_grid` with an argument that has another name today.
    """
    original = sys.modules.get("torchvision")
    vision: Any = ModuleType("torchvision")
    vision.utils = SimpleNamespace(make_grid=lambda image, **_: image, save_image=lambda *_: None)
    sys.modules["torchvision"] = vision
    try:
        yield
    finally:
        del sys.modules["torchvision"]
        if original is not None:
            sys.modules["torchvision"] = original


def speed(
    data: Tensor,
    rounds: int,
    cases: Mapping[str, tuple[dict[str, Any], int]] = CASES,
    peer: str | None = "WGAN-GP",
) -> list[Numbers]:
    """Return one row per case for the handwritten loop, and one for torchgan in the case `peer`."""
    rows = []
    for case, (table, steps) in cases.items():
        segments = {
            "genzoo": by_fit(table, data, steps, BATCH),
            "by hand": by_hand(table, data, steps),
        }
        if case == peer and (peer_segment := by_torchgan(table, data, steps)):
            segments["torchgan"] = peer_segment
        with warnings.catch_warnings():
            # after so few rounds, all samples are similar
            warnings.simplefilter("ignore", UserWarning)
            timings = race(segments, rounds)
        read = steps * genzoo.build(table, shape=tuple(data.shape[1:])).critic_steps * BATCH
        rows += [row(case, other, timings, read) for other in segments if other != "genzoo"]
    return rows


# Quality


def quality(
    names: Iterable[str],
    seeds: Iterable[int],
    steps: Mapping[str, int],
    threads: int,
    folder: Path,
    dataset: genzoo.Dataset,
) -> list[Numbers]:
    """Train and measure each model with each seed, or read the stored results."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed, name in product(seeds, names):  # all models with one seed, then with the next
        file = folder / f"{name}-{seed}.json"
        plan = {"model": name, "seed": seed, "steps": steps[name], "threads": threads}
        result = json.loads(file.read_text()) if file.exists() else {}
        if not plan.items() <= result.items():
            print(f"{name}, seed {seed}: {steps[name]:,} steps", flush=True)
            result = {**plan, **trained(name, seed, steps[name], dataset)}
            file.write_text(json.dumps(result, indent=2) + "\n")
        runs.append(result)
    return runs


def planned(
    names: Iterable[str],
    seconds: float,
    threads: int,
    folder: Path,
    dataset: genzoo.Dataset,
    trial: int = 200,
) -> dict[str, int]:
    """Return the number of steps that each model makes in a given CPU time.

    The numbers come from interleaved trials. Numbers from earlier trials are kept.

    Arguments:
        names: names in `MODELS`.
        seconds: CPU seconds per run, over all threads.
        threads: the number of threads; a plan is valid for this number only.
        folder: the folder that stores plans.
        dataset: the training data.
        trial: steps per trial.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, key = folder / "steps.json", f"{seconds:g} s, {threads} threads"
    plans = json.loads(file.read_text()) if file.exists() else {}
    plan = plans.setdefault(key, {})
    new = {
        name: lambda name=name: fitted(name, 0, trial, dataset)
        for name in names
        if name not in plan
    }
    for name, times in race(new, 3).items():
        plan[name] = max(1, round(seconds * trial / statistics.median(times["cpu"])))
    file.write_text(json.dumps(plans, indent=2) + "\n")
    return plan


def fitted(name: str, seed: int, steps: int, dataset: genzoo.Dataset) -> Any:
    return genzoo.fit(
        MODELS[name],
        dataset,
        seed=seed,
        steps=steps,
        schedule="cosine",
        device="cpu",
        progress=False,
    ).model


def trained(name: str, seed: int, steps: int, dataset: genzoo.Dataset) -> Numbers:
    """Train a model, and return its training time and its measurements."""
    wall, cpu = time.perf_counter(), time.process_time()
    model = fitted(name, seed, steps, dataset)
    times = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    torch.manual_seed(seed)
    return {**times, **measured(model, dataset, seed)}


@torch.no_grad()
def measured(model: Any, dataset: genzoo.Dataset, seed: int = 0) -> Numbers:
    """Return the squared error of reconstructions, and Fréchet distances from test images.

    The distances are those of reconstructions, and of the same number of samples. Samples are
    decoded from the prior, and from a mixture of ten Gaussians that is fitted to the latent codes
    of the training images.
    """
    from sklearn.mixture import GaussianMixture

    test = list(some(dataset, "test"))
    real = statistics_of(test)
    codes = torch.cat(
        [model.encode(x) for x in once(dataset, ("x",), 1000, device=_CPU, split="train")]
    )
    mixture = GaussianMixture(10, covariance_type="full", random_state=seed).fit(
        codes.double().numpy()
    )
    z = torch.as_tensor(mixture.sample(real.n)[0], dtype=codes.dtype)
    generated = {
        "reconstruction": map(model.reconstruct, test),
        "prior": (model.sample(len(x)) for x in test),
        "mixture": map(model.decode, z[torch.randperm(len(z))].split(1000)),
    }
    distances = {
        name: distance(real, statistics_of(pictures)) for name, pictures in generated.items()
    }
    errors = [(x - model.reconstruct(x)).double().square().flatten(1).mean(dim=1) for x in test]
    return {"squared_error": torch.cat(errors).mean().item(), **distances}


def some(dataset: genzoo.Dataset, split: str) -> Iterator[Tensor]:
    """Yield the first images of a split in batches, as many as a distance uses."""
    return once(
        dataset, ("x",), 1000, device=_CPU, split=split, limit=min(SIZE, dataset.rows("test"))
    )


def statistics_of(pictures: Iterable[Tensor]) -> FeatureStatistics:
    network = FashionCNN(NETWORK.shape)
    statistics = FeatureStatistics(network.dim)
    for x in pictures:
        statistics.update(extract_features(network, x))
    return statistics


def distance(one: FeatureStatistics, other: FeatureStatistics) -> float:
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


# The page


def speed_section(part: Numbers) -> list[str]:
    return [
        "## Speed",
        "",
        "The table compares `genzoo.fit` with a handwritten loop and with torchgan's trainer. It",
        "lists images seen by the critic per CPU second; the time of `genzoo.fit` includes startup",
        f"and shutdown. The setup is 32x32 images, batch size {BATCH}, convolutions with 32, 64,",
        f"and 128 channels, and {part['threads']} thread. WGAN-GP takes five critic steps per",
        f"round. Values are medians over {part['rounds']} interleaved rounds in one process. A",
        "ratio above 1 means that genzoo is",
        "faster.",
        "",
        "The handwritten loop generates fake images without a graph, freezes the critic in the",
        "generator's step, and never copies a value back to Python. It computes only the losses.",
        "genzoo also reports scores, the gap, and the variance ratio of",
        "samples.",
        "",
        "torchgan's trainer uses the same networks, optimizer, and steps, and writes no",
        "checkpoints or images. Only its speed is compared, because its gradient penalty differs",
        "from the paper: it uses the norm of the gradient of the whole batch instead of each",
        "example. So it moves the slope towards 1 divided by the square root of the batch size.",
        "",
        describe_machine(part, "torchgan 0.1.0"),
        "",
        *markdown(part["rows"]),
        "",
        *("```", part["command"], "```", ""),
    ]


def quality_section(part: Numbers) -> list[str]:
    seeds = ", ".join(map(str, part["seeds"]))
    lines = [
        "## Quality",
        "",
        "Each model trains on Fashion-MNIST with 8 latent dimensions, the same fully connected",
        f"networks, batch size 128, and a cosine schedule. Each run gets {part['seconds']:g} CPU",
        f"seconds (threads: {part['threads']}). The number of steps was fixed before",
        "training, based on the measured time per step of each model.",
        "",
        "The squared error is per pixel of the reconstructions. The Fréchet distances compare",
        f"three sets of images with {part['n']:,} test images, using the features of",
        f"{NETWORK.version}: the reconstructions of the test images, samples from the",
        "prior, and samples from a mixture of ten Gaussians. The mixture was fitted to the latent",
        "codes of the training images after training; for a VAE, these are the posterior means.",
        "All three sets have the same size.",
        "",
        f"Values are means over the seeds {seeds}, with the range in parentheses. Training images",
        f"instead of samples have a distance of {part['floor']:.2f}. These distances are not FIDs",
        "and are only comparable with each other.",
        "",
        describe_machine(part, f"genzoo {genzoo.__version__}"),
        "",
        "| model | steps | " + " | ".join(MEASURES.values()) + " |",
        "|---|--:|" + "--:|" * len(MEASURES),
    ]
    for name in dict.fromkeys(run["model"] for run in part["runs"]):
        runs = [run for run in part["runs"] if run["model"] == name]
        cells = [
            _range([run[key] for run in runs], ".5f" if key == "squared_error" else ".1f")
            for key in MEASURES
        ]
        lines.append(f"| {name} | {runs[0]['steps']:,} | " + " | ".join(cells) + " |")
    return [*lines, "", "```", part["command"], "```", ""]


def _range(values: Sequence[float], form: str) -> str:
    low, mean, high = (
        format(value, form) for value in (min(values), statistics.mean(values), max(values))
    )
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def page(result: Mapping[str, Numbers]) -> str:
    sections = {"speed": speed_section, "quality": quality_section}
    lines = [
        line
        for name, section in sections.items()
        if name in result
        for line in section(result[name])
    ]
    return "\n".join(["# Adversarial training", "", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("speed", "quality", "all"), default="speed")
    parser.add_argument(
        "--rounds", type=int, default=10, help="rounds of the speed part, on one thread"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=300,
        help="CPU seconds per model and seed, over all threads",
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of the quality part")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--models", choices=MODELS, nargs="+", default=["vae", "wae-mmd", "wae-gan"]
    )
    parser.add_argument("--cache", type=Path, default=Path("build/adversarial"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/adversarial"))
    options = parser.parse_args()
    file = options.out.with_suffix(".json")
    result: dict[str, Numbers] = json.loads(file.read_text()) if file.exists() else {}
    command = "python benchmarks/adversarial.py --part"
    if options.part in ("speed", "all"):
        torch.set_num_threads(1)
        rows = speed(pad(images(), (2, 2, 2, 2)), options.rounds)
        result["speed"] = {
            **machine(),
            "command": f"{command} speed --rounds {options.rounds}",
            "rounds": options.rounds,
            "threads": 1,
            "rows": rows,
        }
        write(options.out, result, page(result))
    if options.part in ("quality", "all"):
        torch.set_num_threads(options.threads)
        dataset = genzoo.build("fashion-mnist", "datasets")
        steps = planned(options.models, options.seconds, options.threads, options.cache, dataset)
        runs = quality(
            options.models, options.seeds, steps, options.threads, options.cache, dataset
        )
        train, test = (statistics_of(some(dataset, split)) for split in ("train", "test"))
        seeds, models = " ".join(map(str, options.seeds)), " ".join(options.models)
        flags = f"--seconds {options.seconds:g} --threads {options.threads} --seeds {seeds}"
        flags += f" --models {models}"
        result["quality"] = {
            **machine(),
            "command": f"{command} quality \\\n  {flags}",
            "seconds": options.seconds,
            "threads": options.threads,
            "seeds": options.seeds,
            "n": test.n,
            "floor": distance(train, test),
            "runs": runs,
        }
        write(options.out, result, page(result))


if __name__ == "__main__":
    main()
