"""Write samples to a file, in the format of its suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genzoo.cli.common import console
from genzoo.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["write"]


def write(
    samples: Tensor,
    out: Path,
    columns: int | None = None,
    shown: Tensor | None = None,
    lines: Sequence[str] | None = None,
    *,
    labels: Sequence[str] = (),
    titles: Sequence[str] = (),
) -> None:
    """Write samples to a file; its suffix selects the format.

    Arguments:
        samples: the samples.
        out: a path that ends in .npy for an array, .png, .svg, or .pdf for a picture, or .txt for
            text.
        columns: the number of columns of the sheet.
        shown: the images to show instead of the samples.
        lines: the samples as lines of text, if they are text.
        labels: the texts next to the rows of the sheet, or below its images.
        titles: the texts above its columns.

    Raises:
        SettingError: the samples cannot be written in this format.
    """
    from genzoo.files import write_atomic
    from genzoo.plots import draw, save
    from genzoo.plots.files import SUFFIXES

    if not hasattr(samples, "shape"):
        raise SettingError(
            f"samples of type {type(samples).__name__} cannot be written as an image or an array."
        )
    suffix = out.suffix.lower()
    if suffix == ".npy":
        import numpy as np
        import torch

        def written(path: Path) -> None:
            with path.open("wb") as file:
                # NumPy does not support bfloat16.
                array = samples.float() if samples.dtype == torch.bfloat16 else samples
                np.save(file, array.cpu().numpy())

    elif suffix in SUFFIXES:
        images = samples if shown is None else shown
        picture = draw(images, columns=columns, labels=labels, titles=titles)
        if picture is None:
            text = "" if lines is None else ", or as text, as in -o samples.txt"
            raise SettingError(
                f"samples of shape {tuple(samples.shape[1:])} cannot be shown as an image; write "
                f"them as an array, as in -o samples.npy{text}."
            )

        def written(path: Path) -> None:
            save(picture, path)

    elif suffix == ".txt" and lines is not None:

        def written(path: Path) -> None:
            save(list(lines), path)

    else:
        suffixes = f"{', '.join(SUFFIXES)}, or .npy" if lines is None else ".txt or .npy"
        raise SettingError(f"-o {out}: expected a name that ends in {suffixes}.")
    write_atomic(out, written)
    console.print(f"{out}: {len(samples)} of shape {tuple(samples.shape[1:])}", markup=False)
