"""Pictures that are installed with a system: the glyphs of a colour font, and two icon themes. They are read, never kept."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genzoo import Dataset
from genzoo.contract import Count
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path
from genzoo_translation.derived import with_truth
from genzoo_translation.folders import Fraction, Seed

_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
_ICONS = Path("/usr/share/icons")


def emoji(
    size: Count = 32,
    font: str | None = None,
    variants: bool = False,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """The emoji of a colour font, over white: column x, uint8 `(N, 3, size, size)`.

    Arguments:
        size: pixels; glyphs of 136 x 128 are laid on a square and resized with a Lanczos filter.
        font: a font with bitmap glyphs (a table CBDT). If None: that of the Debian package fonts-noto-color-emoji.
        variants: also the glyphs that no single code point has: skin tones, flags, families. They resemble others, so that
            held-out glyphs then have near doubles among those trained on.
        test_fraction: how many are held out, rounded down.
        seed: of which these are.

    Raises:
        DataError: there is no such font, or it has no such glyphs.

    Example:
        >>> emoji(font="nowhere.ttf")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: emoji: there is no font nowhere.ttf.
    """
    from fontTools.ttLib import TTFont, TTLibError

    path = _FONT if font is None else local_path(font, "emoji: font", DataError)
    if not path.is_file():
        where = (
            " Install the Debian package fonts-noto-color-emoji, or name a font = ..."
            if font is None
            else ""
        )
        raise MissingDataError(f"emoji: there is no font {path}.{where}")
    try:
        with TTFont(path) as opened:
            strikes = opened["CBDT"].strikeData if "CBDT" in opened else []
            known = set(opened.getBestCmap().values())
            strike = strikes[0] if strikes else {}
            glyphs = {
                name: glyph.imageData for name, glyph in strike.items() if variants or name in known
            }
    except (TTLibError, OSError, AttributeError) as error:
        raise DataError(
            f"emoji: {path} cannot be read as a font with bitmap glyphs ({error})."
        ) from error
    if not glyphs:
        raise DataError(f"emoji: {path} has no bitmap glyphs (a table CBDT).")
    images = [_square(io.BytesIO(glyphs[name]), size, name) for name in sorted(glyphs)]
    return _split({"x": images}, test_fraction, seed, "emoji", groups=(("x",),))


def icons(
    size: Count = 32,
    paired: bool = False,
    folder: str | None = None,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Icons of the themes Tango (x) and Oxygen (y), over white, uint8 `(N, 3, size, size)`; unpaired, or those of one name.

    Arguments:
        size: pixels; the themes' icons of 32 pixels are read, and resized if another number is asked for.
        paired: only icons that both themes have, side by side.
        folder: where the themes `Tango` and `oxygen/base` lie. If None: where the Debian packages tango-icon-theme (public
            domain) and oxygen-icon-theme (LGPL) put them.
        test_fraction: how many are held out, of each theme, rounded down.
        seed: of which these are.

    Raises:
        DataError: a theme is missing.

    Example:
        >>> icons(folder="nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: icons: there are no icons in nowhere/Tango/32x32. Install the Debian package tango-icon-theme.
    """
    root = _ICONS if folder is None else local_path(folder, "icons: folder", DataError)
    themes = [
        _theme(root / "Tango" / "32x32", "tango-icon-theme"),
        _theme(root / "oxygen" / "base" / "32x32", "oxygen-icon-theme"),
    ]
    if paired:
        shared = sorted(themes[0].keys() & themes[1].keys())
        themes = [{name: theme[name] for name in shared} for theme in themes]
    columns = {
        column: [_square(theme[name], size, name) for name in sorted(theme)]
        for column, theme in zip("xy", themes, strict=True)
    }
    return _split(
        columns, test_fraction, seed, "icons", groups=(("x", "y"),) if paired else (("x",), ("y",))
    )


def _theme(folder: Path, package: str) -> dict[str, Path]:
    """A theme's icons by category and name; links, which are second names of the same picture, are left out."""
    found = {
        f"{file.parent.name}/{file.stem}": file
        for file in sorted(folder.glob("*/*.png"))
        if not file.is_symlink()
    }
    if not found:
        raise MissingDataError(
            f"icons: there are no icons in {folder}. Install the Debian package {package}."
        )
    return found


def _square(source: Any, size: int, name: str) -> Any:
    """A picture over white, in the middle of a square, at a size: uint8 `(3, size, size)`."""
    from PIL import Image, ImageOps

    try:
        with Image.open(source) as opened:
            image = opened.convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's, by format
        raise DataError(f"{name} cannot be read as an image ({error}).") from error
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image = ImageOps.pad(image, (size, size), Image.Resampling.LANCZOS, color="white")
    return np.asarray(image).transpose(2, 0, 1)


def _split(
    columns: dict[str, list[Any]],
    test_fraction: float,
    seed: int,
    name: str,
    groups: Sequence[tuple[str, ...]],
) -> Dataset:
    """Rows in a random order that is one for the columns of a group, and the last of them held out."""
    train, test = {}, {}
    for group in groups:
        rows = len(columns[group[0]])
        order = np.random.RandomState(seed).permutation(rows)
        held = int(rows * test_fraction)
        for column in group:
            stacked = np.stack([columns[column][i] for i in order])
            train[column] = stacked[: rows - held]
            if held:
                test[column] = stacked[rows - held :]
    if len(groups[0]) == 2 and test:
        test = with_truth(test)
    return Dataset(train, test, groups=tuple(groups), name=name)
