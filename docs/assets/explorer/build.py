"""Put the explorer into a built site: `python docs/assets/explorer/build.py site`.

The decoders need onnxruntime-web, which needs npm. Without npm, the page "Try it" says
that they are missing.
"""

import json
import shutil
import sys
from pathlib import Path

import genzoo
import torch
from genzoo.contract import Model
from npm import unpack
from safetensors.torch import save
from torch import Tensor

LATENT = {
    "wae-mmd.fashion-mnist": "WAE-MMD on Fashion-MNIST",
    "wgan-gp.fashion-mnist": "WGAN-GP on Fashion-MNIST",
    "wae-mmd.digits": "WAE-MMD on digits",
    "vae.digits": "VAE on digits",
}
"""Pretrained weights -> the title in the explorer, for those that are installed."""
NADE = "nade.digits"
HALVES = 20
"""The number of held-out digits whose upper half the visitor can start from."""
ROWS = 5_000
"""The number of training examples that are encoded, at most."""
SAMPLES = 16
"""The number of samples to start from."""
SIGMAS = 2.5
"""A plane of latent codes ends at this many of their standard deviations."""
BEYOND = 1.25
"""A plane through two samples ends at this many times their norm."""
PAGE = "try-it/index.html"


def add_latent(site: Path) -> None:
    """Add onnxruntime-web, the decoders, and planes of their latent spaces.

    Raises:
        OSError: onnxruntime-web cannot be downloaded.
    """
    folder = site / "assets/explorer"
    runtime = [Path(shutil.copy(file, folder)) for file in unpack("onnxruntime-web")]
    installed = [name for name in LATENT if name in genzoo.available("weights")]
    models = [latent_model(name, folder) for name in installed]
    (folder / "latent.json").write_text(json.dumps(models), encoding="utf-8")
    offer(site, "latent", [*runtime, folder / f"{installed[0]}.onnx"])
    print(f"{PAGE} explores the latent space of {', '.join(installed)}.")


def add_nade(site: Path) -> None:
    """Add the weights of NADE, and the upper halves of some held-out digits."""
    folder = site / "assets/explorer"
    parameters = {name: value.detach() for name, value in genzoo.load(NADE).named_parameters()}
    file = folder / "nade.safetensors"
    file.write_bytes(save(parameters))
    digits = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    x = digits.prepare(torch.as_tensor(digits.test["x"][:HALVES])).flatten(1)
    halves = x[:, : x.shape[1] // 2].int().tolist()
    (folder / "nade.json").write_text(json.dumps({"halves": halves}), encoding="utf-8")
    offer(site, "nade", [file])
    print(f"{PAGE} completes digits with {NADE}.")


def offer(site: Path, part: str, files: list[Path]) -> None:
    """Write the size of a part's download into the page, which then offers the part."""
    page = site / PAGE
    text = page.read_text(encoding="utf-8")
    place = f'id="{part}" data-megabytes=""'
    assert place in text, f"{page} has no {place}"
    size = sum(file.stat().st_size for file in files) / 1e6
    text = text.replace(place, f'id="{part}" data-megabytes="{size:.2g}"')
    page.write_text(text, encoding="utf-8")


@torch.no_grad()
def latent_model(name: str, folder: Path) -> dict[str, object]:
    """Export the decoder, and return a plane and vectors to start from."""
    genzoo.export(name, folder / f"{name}.onnx", part="sample")
    model = genzoo.load(name)
    distribution = model.latent_distribution
    torch.manual_seed(0)
    starts = [("sample", distribution.sample(SAMPLES))]
    if hasattr(distribution, "means"):
        starts.insert(0, ("component", distribution.means))
    codes, named = encoded(model, name)
    if named:
        starts.insert(0, ("class", torch.stack(list(named.values()))))
    origin, axes = through_zero(starts[-1][1]) if codes is None else principal_plane(codes)
    labels = {"class": list(named)}
    return {
        "name": name,
        "title": LATENT[name],
        "shape": list(model.shape),
        "origin": origin.tolist(),
        "axes": axes.tolist(),
        "spherical": getattr(model.prior, "spherical", False),
        "starts": [
            {"group": group, "label": label, "z": z.tolist()}
            for group, vectors in starts
            for label, z in zip(
                labels.get(group, map(str, range(1, len(vectors) + 1))),
                vectors,
                strict=True,
            )
        ],
    }


def principal_plane(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of codes, and the two directions in which they vary most."""
    origin = codes.mean(0)
    _, sizes, directions = torch.linalg.svd(codes - origin, full_matrices=False)
    return origin, directions[:2] * (SIGMAS * sizes[:2, None] / len(codes) ** 0.5)


def through_zero(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return zero, and the directions of two samples, made orthogonal."""
    a, b = samples[:2]
    b = b - a * (a @ b) / (a @ a)
    return torch.zeros_like(a), BEYOND * torch.stack([a, b * a.norm() / b.norm()])


def encoded(model: Model, name: str) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Return latent codes of training examples, and the most central one of each class.

    Both are empty if the model has no encoder, or if this machine lacks the dataset.
    """
    if not hasattr(model, "encode"):
        return None, {}
    try:
        dataset = genzoo.build(name.partition(".")[2], "datasets")
    except genzoo.GenzooError as error:
        print(f"No classes to start from with {name}: {error}")
        return None, {}
    x, y = (torch.as_tensor(dataset.train[column][:ROWS]) for column in ("x", "y"))
    codes = model.encode(dataset.prepare(x))
    named = {}
    for label, class_name in enumerate(dataset.class_names):
        members = codes[y == label]
        named[class_name] = members[(members - members.mean(0)).norm(dim=1).argmin()]
    return codes, named


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    add_nade(folder)
    try:
        add_latent(folder)
    except OSError as error:
        print(f"{PAGE} does not explore latent spaces: {error}.")
