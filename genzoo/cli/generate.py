"""The commands that generate data with a trained model, from noise or from held-out data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.cli.common import Checkpoint, Count, DataPath, Device, RunName, Seed, console
from genzoo.cli.inputs import data, held_out, load, note_sampler, require
from genzoo.cli.labels import Label, SheetSize, labels, sheet_size
from genzoo.cli.output import write
from genzoo.errors import SettingError

__all__ = ["complete", "reconstruct", "sample", "translate"]


def sample(
    run: RunName,
    n: SheetSize = None,
    label: Label = None,
    columns: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The number of columns of the sheet. Default: a row for each class, or square.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="A .png, .svg, .pdf, .npy, or .txt file. Default: samples.png; text is printed.",
        ),
    ] = None,
    seed: Seed = 0,
    truncation: Annotated[
        float | None,
        typer.Option(help="Keep latent codes within this number of standard deviations."),
    ] = None,
    checkpoint: Checkpoint = "last",
    data_path: DataPath = None,
    device: Device = "cpu",
) -> None:
    """Draw samples from a trained model.

    For a model that maps images to images, show held-out inputs, outputs, and true images if known.
    For a model with labels, show a row for each class, or a single class with --label. With more
    than 32 classes, show one sample of each of the first 64.
    """
    import torch

    from genzoo.progress import shown as show_progress
    from genzoo.runs.weights import origin
    from genzoo.train.pictures import (
        Tiles,
        has_labels,
        sheet_columns,
        sheet_labels,
        side_by_side,
        text,
    )

    model = load(run, device, checkpoint)
    note_sampler(model)
    torch.manual_seed(seed)
    by_class = has_labels(model) and label is None
    n = sheet_size(model, n, label)
    settings: dict[str, Any] = {}
    dataset = None
    if label is not None or by_class:
        settings["given"] = labels(model, n, label)
    elif model.given:
        dataset = data(run, data_path)
        settings["given"] = held_out(run, model, n, model.given, dataset)
    if truncation is not None:
        if not model.can_truncate:
            raise SettingError(
                f"{type(model).__name__} cannot truncate its samples; leave out --truncation."
            )
        settings["truncation"] = truncation
    with show_progress():
        samples = model.sample(n, **settings)
    lines = text(model, samples)
    if lines is not None and out is None:
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)
        return
    tiles, names = Tiles(samples), []
    if dataset is not None:
        tiles = side_by_side(model, dataset, samples, settings["given"])
        _check_columns(columns, tiles.titles)
    elif by_class:
        tiles = Tiles(samples, columns or sheet_columns(model, n))
        known = origin(model).get("class_names", ())
        names = sheet_labels(settings["given"], known, tiles.columns)
    write(
        samples,
        out or Path("samples.png"),
        columns or tiles.columns,
        tiles.images,
        lines,
        labels=names,
        titles=tiles.titles,
    )


def translate(
    run: RunName,
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="The folder for the translations, one .png file per image."
        ),
    ] = Path("translated"),
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Translate in the other direction.")
    ] = False,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Translate image files to the other domain, at the size that the model was trained on."""
    import torch

    from genzoo.data.image_files import find_images
    from genzoo.data.image_reader import Reader
    from genzoo.files import write_atomic
    from genzoo.plots import save, sheet

    model = require(load(run, device), "translate")
    settings = {}
    if reverse:
        if not model.can_reverse:
            raise SettingError(
                f"{type(model).__name__} translates in one direction only; leave out --reverse."
            )
        settings["reverse"] = True
    shape = model.shape if reverse else model.given_shape
    if shape[0] not in (1, 3):
        raise SettingError(
            f"{type(model).__name__} needs images with {shape[0]} channels, and image files have "
            "1 or 3; translate arrays in Python instead."
        )
    torch.manual_seed(seed)
    targets = _targets(images, [images] if images.is_file() else find_images(images), out)
    read = Reader((shape[0], shape[1], shape[2]))
    for target, file in targets.items():
        x = torch.from_numpy(read(file).copy()).to(model.reference_tensor) / 255
        with torch.no_grad():
            image = sheet(model.translate(x[None], **settings), side=0, border=0)
        write_atomic(target, lambda path, image=image: save(image, path))  # type: ignore[misc]
    shape = tuple(model.given_shape if reverse else model.shape)
    console.print(f"{out}: {len(targets)} of shape {shape}", markup=False)


def complete(
    run: RunName,
    n: Count = 8,
    rows: Annotated[
        int | None,
        typer.Option(
            min=0, help="The number of rows of pixels to keep, from the top. Default: half."
        ),
    ] = None,
    times: Annotated[
        int, typer.Option(min=1, max=10_000, help="The number of completions per image.")
    ] = 6,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="A .png, .svg, or .pdf file, or a .npy file with the completions."
        ),
    ] = Path("completions.png"),
    seed: Seed = 0,
    data_path: DataPath = None,
    device: Device = "cpu",
) -> None:
    """Complete the lower part of held-out images: visible part, completions, original."""
    import torch
    from einops import rearrange

    from genzoo.contract import is_image
    from genzoo.progress import shown as show_progress

    model = require(load(run, device), "complete")
    if not is_image(model.shape):
        raise SettingError(
            f"{type(model).__name__} of shape {model.shape} does not generate images, so it cannot "
            "keep rows."
        )
    height = model.shape[1]
    kept = height // 2 if rows is None else rows
    if kept >= height:
        raise SettingError(
            f"--rows {kept}: images have {height} rows, so nothing is left to complete; keep fewer."
        )
    dataset = data(run, data_path)
    x = held_out(run, model, n, ("x",), dataset)
    given = held_out(run, model, n, model.given, dataset) if model.given else None
    mask = (torch.arange(height, device=x.device) < kept)[:, None].expand(model.shape)
    torch.manual_seed(seed)
    many, conditions = _repeated(x, times), _repeated(given, times)
    with show_progress():
        completions = model.complete(many, mask, conditions)
    visible = torch.where(mask, x, 0.5)  # hidden pixels are gray
    tiles = torch.cat([visible[:, None], completions.unflatten(0, (n, times)), x[:, None]], 1)
    tiles = rearrange(tiles, "n k ... -> (n k) ...")
    titles = ["visible", *["completions"] * times, "original"]
    write(completions, out, columns=times + 2, shown=tiles, titles=titles)


def reconstruct(
    run: RunName,
    n: Count = 32,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .png, .svg, .pdf, or .npy file.")
    ] = Path("reconstructions.png"),
    data_path: DataPath = None,
    device: Device = "cpu",
) -> None:
    """Reconstruct held-out data, and show each image next to its reconstruction."""
    import torch
    from einops import rearrange

    from genzoo.contract import conditions

    model = require(load(run, device), "reconstruct")
    dataset = data(run, data_path)
    x = held_out(run, model, n, ("x",), dataset)
    given = held_out(run, model, n, model.given, dataset) if model.given else None
    with torch.no_grad():
        pairs = torch.stack([x, model.reconstruct(x, **conditions(given))], dim=1)
    titles = ("original", "reconstruction")
    write(rearrange(pairs, "n two ... -> (n two) ..."), out, columns=8, titles=titles)


def _check_columns(columns: int | None, titles: Sequence[str]) -> None:
    """Check that groups of images side by side stay together.

    Raises:
        SettingError: they do not.
    """
    if columns is not None and titles and columns % len(titles):
        raise SettingError(
            f"--columns {columns}: {', '.join(titles)} are side by side; choose a multiple of "
            f"{len(titles)}."
        )


def _targets(images: Path, files: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the path of each translation -> the file to translate.

    Raises:
        SettingError: two translations have the same path, or a translation would replace a source.
    """
    targets: dict[Path, Path] = {}
    for file in files:
        name = file.name if images.is_file() else file.relative_to(images)
        target = (out / name).with_suffix(".png")
        if target in targets:
            raise SettingError(
                f"{targets[target]} and {file} would both become {target}; rename one of them."
            )
        targets[target] = file
    sources = {file.resolve() for file in files}
    for target in targets:
        if target.resolve() in sources:
            raise SettingError(f"-o {out}: {target} would be overwritten; choose another folder.")
    return targets


def _repeated(columns: Any, times: int) -> Any:
    """Repeat each row of a tensor, or of every column of a mapping. None stays None."""
    if isinstance(columns, Mapping):
        return {name: _repeated(column, times) for name, column in columns.items()}
    return None if columns is None else columns.repeat_interleave(times, 0)
