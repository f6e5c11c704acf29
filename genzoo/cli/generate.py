"""The commands that draw from a trained model: sample, complete, reconstruct, translate, interpolate, arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.cli.common import (
    Count,
    Device,
    RunName,
    Seed,
    console,
    data,
    held_out,
    load,
    require,
    write,
)
from genzoo.errors import SettingError


def sample(
    run: RunName,
    n: Count = 64,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="A .png picture, a .npy array or a .txt file; samples.png by default, and text is printed.",
        ),
    ] = None,
    seed: Seed = 0,
    truncation: Annotated[
        float | None,
        typer.Option(
            help="Keep latent codes within so many standard deviations: typical samples, less varied."
        ),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Draw samples from a trained model; of images from images, each as input, output and, where it is known, the truth."""
    import torch

    from genzoo.progress import shown as showing
    from genzoo.train.artifacts import side_by_side, text

    model = load(run, device)
    torch.manual_seed(seed)
    dataset = data(run) if model.given else None
    settings: dict[str, Any] = (
        {"given": held_out(run, model, n, model.given, dataset)} if model.given else {}
    )
    if truncation is not None:
        if not model.can_truncate:
            raise SettingError(
                f"{type(model).__name__} cannot truncate its samples; leave out --truncation"
            )
        settings["truncation"] = truncation
    with showing():
        samples = model.sample(n, **settings)
    lines = text(model, samples)
    if lines is not None and out is None:
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)
        return
    tiles, columns = (
        (None, None)
        if dataset is None
        else side_by_side(model, dataset, samples, settings["given"])
    )
    write(samples, out or Path("samples.png"), columns, tiles, lines)


def translate(
    run: RunName,
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="The folder for the translations; one .png for each image."
        ),
    ] = Path("translated"),
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The other way, where the model knows both.")
    ] = False,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Translate image files from one domain to the other, at the size that the model was trained on."""
    import torch

    from genzoo.data.image_folder import find_images, read_image
    from genzoo.files import write_atomic
    from genzoo.plots import save, sheet

    model = require(load(run, device), "translate")
    settings = {}
    if reverse:
        if not model.can_reverse:
            raise SettingError(
                f"{type(model).__name__} translates one way only; leave out --reverse"
            )
        settings["reverse"] = True
    shape = model.shape if reverse else model.given_shape
    if shape[0] not in (1, 3):
        raise SettingError(
            f"{type(model).__name__} takes images of {shape[0]} channels, and files have 1 or 3; translate arrays"
        )
    torch.manual_seed(seed)
    targets = _targets(images, [images] if images.is_file() else find_images(images), out)
    for target, file in targets.items():
        x = (
            torch.from_numpy(read_image(file, *shape).copy()).to(
                model.reference_tensor.device, model.reference_tensor.dtype
            )
            / 255
        )
        with torch.no_grad():
            found = sheet(model.translate(x[None], **settings), side=0, border=0)
        write_atomic(target, lambda path, found=found: save(found, path))  # type: ignore[misc]
    console.print(
        f"{out}: {len(targets)} of shape {tuple(model.given_shape if reverse else model.shape)}",
        markup=False,
    )


def complete(
    run: RunName,
    n: Count = 8,
    rows: Annotated[
        int | None,
        typer.Option(min=0, help="Rows of pixels that are kept, from the top; half by default."),
    ] = None,
    times: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many completions of each.")
    ] = 6,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .png picture or a .npy array of the completions.")
    ] = Path("completions.png"),
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Complete held-out images of which the lower part is hidden: what is seen, completions, the original."""
    import torch
    from einops import rearrange

    from genzoo.contract import is_image
    from genzoo.progress import shown

    model = require(load(run, device), "complete")
    if not is_image(model.shape):
        raise SettingError(
            f"{type(model).__name__} of shape {model.shape} draws no images, so there are no rows to keep"
        )
    height = model.shape[1]
    kept = height // 2 if rows is None else rows
    if kept >= height:
        raise SettingError(
            f"--rows {kept}: images have {height} rows, so nothing would be left to complete"
        )
    x = held_out(run, model, n, ("x",))
    given = held_out(run, model, n, model.given) if model.given else None
    mask = (torch.arange(height, device=x.device) < kept)[:, None].expand(model.shape)
    torch.manual_seed(seed)
    many, labels = _repeated(x, times), _repeated(given, times)
    with shown():
        drawn = model.complete(many, mask, labels)
    seen = torch.where(mask, x, 0.5)  # what is hidden is shown grey
    lines = torch.cat([seen[:, None], drawn.unflatten(0, (n, times)), x[:, None]], 1)
    write(drawn, out, columns=times + 2, shown=rearrange(lines, "n k ... -> (n k) ..."))


def reconstruct(
    run: RunName,
    n: Count = 32,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .png picture or a .npy array.")
    ] = Path("reconstructions.png"),
    device: Device = "cpu",
) -> None:
    """Reconstruct held-out data: each image next to its reconstruction."""
    import torch
    from einops import rearrange

    model = require(load(run, device), "reconstruct")
    x = held_out(run, model, n, ("x",))
    with torch.no_grad():
        pairs = torch.stack([x, model.reconstruct(x)], dim=1)
    write(rearrange(pairs, "n two ... -> (n two) ..."), out, columns=8 if x.dim() == 4 else None)


def interpolate(
    run: RunName,
    n: Count = 8,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .png picture or a .npy array.")
    ] = Path("interpolation.png"),
    steps: Annotated[int, typer.Option(min=2, help="Images a row.")] = 10,
    path: Annotated[
        str, typer.Option(help="slerp, linear, or auto: slerp where the prior is spherical.")
    ] = "auto",
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Walk between latent codes: of held-out data where the model encodes, else of its prior."""
    import torch

    from genzoo.contract import has_capability
    from genzoo.models import latents
    from genzoo.train.artifacts import text

    model = require(load(run, device), "decode")
    torch.manual_seed(seed)
    with torch.no_grad():
        if has_capability(model, "encode"):
            ends = model.encode(held_out(run, model, 2 * n, ("x",)))
        else:
            ends = require(model, "prior").prior.sample(2 * n)
    start, end = ends.chunk(2)
    walks = latents.interpolate(model, start, end, steps, path).flatten(0, 1)  # type: ignore[arg-type]  # it refuses other words
    write(walks, out, columns=steps, lines=text(model, walks))


def arithmetic(
    run: RunName,
    a: Annotated[
        str,
        typer.Option(
            "-a", metavar="PLACES", help="Samples with what is to be kept and what is to go."
        ),
    ],
    b: Annotated[str, typer.Option("-b", metavar="PLACES", help="Samples with what is to go.")],
    c: Annotated[str, typer.Option("-c", metavar="PLACES", help="Samples with what is to come.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many samples the sheet holds.")] = 64,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A .png picture or a .npy array.")
    ] = Path("arithmetic.png"),
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Add and subtract latent codes, a - b + c, each the mean of some samples'.

    PLACES, such as 1,2,3, are those of samples on the sheet that `genzoo sample` draws with the same -n and --seed: from 1, row
    by row.
    """
    import torch

    from genzoo.models import latents
    from genzoo.plots import equation
    from genzoo.train.artifacts import text

    model = require(require(load(run, device), "decode"), "prior")
    places = [_places(option, text, n) for option, text in (("-a", a), ("-b", b), ("-c", c))]
    torch.manual_seed(seed)
    with torch.no_grad():
        z = model.prior.sample(n)  # the first that `sample` draws too
        terms = [z[chosen] for chosen in places]
        found = latents.latent_arithmetic(model, *terms)
        columns = [
            model.decode(torch.cat([term, term.mean(dim=0, keepdim=True)])) for term in terms
        ]
    write(
        found,
        out,
        columns=9,
        shown=equation(columns, found) if found.dim() == 4 else None,
        lines=text(model, found),
    )


def _targets(images: Path, files: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Where translations go, and of what: none over another, and none over what is translated."""
    found: dict[Path, Path] = {}
    for file in files:
        target = (out / (file.name if images.is_file() else file.relative_to(images))).with_suffix(
            ".png"
        )
        if target in found:
            raise SettingError(
                f"{found[target]} and {file} would both become {target}; rename one of them"
            )
        found[target] = file
    sources = {file.resolve() for file in files}
    if over := [target for target in found if target.resolve() in sources]:
        raise SettingError(f"-o {out}: {over[0]} would be written over; choose another folder")
    return found


def _repeated(columns: Any, times: int) -> Any:
    """Each row so often, one after the other; of a tensor, of every column of a mapping, or of nothing."""
    if isinstance(columns, Mapping):
        return {name: _repeated(column, times) for name, column in columns.items()}
    return None if columns is None else columns.repeat_interleave(times, 0)


def _places(option: str, text: str, n: int) -> list[int]:
    """`"1,2,3"` -> indices into the `n` samples of a sheet."""
    try:
        places = [int(word) for word in text.split(",")]
    except ValueError:
        raise SettingError(
            f"{option} {text}: expected places on the sheet of samples, as in 1,2,3"
        ) from None
    if outside := [place for place in places if not 1 <= place <= n]:
        raise SettingError(
            f"{option} {text}: there is no place {outside[0]} on a sheet of {n} samples; they are 1 to {n}"
        )
    return [place - 1 for place in places]


COMMANDS = (sample, complete, reconstruct, translate, interpolate, arithmetic)
