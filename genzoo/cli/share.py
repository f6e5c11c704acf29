"""The commands that prepare a trained model for other programs and people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.cli.common import Checkpoint, RunName, console
from genzoo.cli.inputs import load, note_sampler

__all__ = ["export", "pack", "push"]


def export(
    run: RunName,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The file: .onnx, or .pt2 for torch-export.")
    ],
    to: Annotated[str, typer.Option(help="onnx or torch-export.")] = "onnx",
    part: Annotated[
        str | None,
        typer.Option(
            help="decode, encode, score, log_prob, sample, or translate. Default: decode of an "
            "autoencoder, sample of a GAN, log_prob of an autoregressive model."
        ),
    ] = None,
    checkpoint: Checkpoint = "last",
) -> None:
    """Export a method of a model as one file that runs without genzoo."""
    from genzoo.weights.export import export
    from genzoo.weights.parts import name_of, parts

    model = load(run, "cpu", checkpoint)
    settings: dict[str, Any] = {"to": to, "part": part}
    path = export(model, out, **settings)
    chosen = part or parts(model)[0]
    if chosen in ("decode", "sample"):
        note_sampler(model)
    console.print(f"{path}: {chosen} of {name_of(model)}", markup=False)


def pack(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file, which ends in .zip.")],
) -> None:
    """Write a run as one file: weights, recipe, card, and report, without checkpoints."""
    from genzoo.runs.pack import pack

    path = pack(run, out)
    console.print(f"{path}: {path.stat().st_size:,} bytes", markup=False)


def push(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, or the name of pretrained weights.")
    ],
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository.")],
    license: Annotated[
        str, typer.Option(help="The license of the weights, such as apache-2.0.")
    ] = "",
    private: Annotated[
        bool, typer.Option("--private", help="Create a private repository.")
    ] = False,
    message: Annotated[str, typer.Option(help="The message of the commit.")] = "",
) -> None:
    """Push a run to the Hugging Face Hub. Log in first: hf auth login."""
    from genzoo.weights.hub import push as publish

    address = publish(run, repository, license=license, private=private, message=message)
    console.print(f'{address}\nLoad it: genzoo.load("{address}")', markup=False, soft_wrap=True)
