"""Pictures as files, and in notebooks and pages."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any, BinaryIO

from genzoo.errors import SettingError, printable
from genzoo.plots.sheets import Sheet
from genzoo.plots.theme import style

__all__ = ["SUFFIXES", "as_html", "save"]

SUFFIXES = (".png", ".svg", ".pdf")
"""The suffixes of pictures."""
_DATES = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Format -> the metadata that would make equal figures different files."""


def save(picture: Any, path: str | Path | BinaryIO) -> None:
    """Write a picture. The suffix of the path selects the format: `.png`, `.svg`, or `.pdf`.

    Lines of text are written as they are, and a binary file gets a PNG. SVG and PDF need
    matplotlib.

    Arguments:
        picture: a sheet, a Pillow image, a matplotlib figure, or a list of lines.
        path: a path, or a binary file.

    Raises:
        SettingError: the path has another suffix.

    Example:
        >>> import tempfile, torch
        >>> from genzoo.plots import sheet
        >>> path = Path(tempfile.mkdtemp()) / "sheet.svg"
        >>> save(sheet(torch.rand(4, 1, 8, 8)), path)
        >>> path.read_text()[:5]
        '<?xml'
    """
    if isinstance(picture, list) and isinstance(path, str | Path):
        Path(path).write_text("".join(f"{line}\n" for line in picture), encoding="utf-8")
        return
    _write(picture, path, _format(path) if isinstance(path, str | Path) else "png")


def as_html(picture: Any, caption: str) -> str:
    """Return a picture with its caption, for a notebook or a page: a plot as SVG, others as PNG.

    Example:
        >>> import torch
        >>> from genzoo.plots import sheet
        >>> as_html(sheet(torch.rand(4, 1, 8, 8)), "Samples")[:40]
        '<figure><img src="data:image/png;base64,'
    """
    content = io.BytesIO()
    is_plot = hasattr(picture, "savefig")
    _write(picture, content, "svg" if is_plot else "png")
    kind = "svg+xml" if is_plot else "png"
    source = f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
    caption = html.escape(printable(caption))
    image = f'<img src="{source}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _write(picture: Any, target: str | Path | BinaryIO, format: str) -> None:
    settings: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.05}
    if not hasattr(picture, "savefig"):
        sheet = picture if isinstance(picture, Sheet) else Sheet(picture)
        if format == "png":
            sheet.image.save(target, format="PNG")
            return
        picture, settings = sheet.figure(), {}
    with style():
        picture.savefig(target, format=format, metadata=_DATES.get(format), **settings)


def _format(path: str | Path) -> str:
    suffix = Path(path).suffix
    if suffix.lower() not in SUFFIXES:
        raise SettingError(
            f"{path}: pictures are written as {', '.join(SUFFIXES[:-1])}, or {SUFFIXES[-1]}; use "
            "one of these suffixes."
        )
    return suffix[1:].lower()
