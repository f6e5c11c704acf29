"""Datasets of images that are installed with a system: emoji of a color font, and icon themes.

The files are read in place, and nothing is copied.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genzoo import Dataset
from genzoo.contract import Count, LocalPath
from genzoo.errors import DataError, MissingDataError
from genzoo.files import local_path
from genzoo_translation.derived import with_truth
from genzoo_translation.folders import Fraction, Seed

__all__ = ["emoji", "icons"]

_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
_ICONS = Path("/usr/share/icons")
_SKIN_TONES = range(0x1F3FB, 0x1F400)
"""The code points of the five skin tones, which follow a person's or a hand's code point."""

Glyphs = Literal["single", "all", "skin-tones"]
"""The glyphs that `emoji` takes; see there."""


def emoji(
    size: Count = 32,
    font: LocalPath | None = None,
    *,
    glyphs: Glyphs = "single",
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Return the emoji of a color font on white, uint8 `(N, 3, size, size)`, in the column x.

    Arguments:
        size: the size in pixels. Glyphs of 136 x 128 pixels are centered on a square and resized
            with a Lanczos filter.
        font: a font with bitmap glyphs (a table CBDT). By default, the font of the Debian package
            fonts-noto-color-emoji.
        glyphs: which glyphs. `"single"` takes those with a code point of their own. `"all"` adds
            combinations: skin tones, flags, and families. `"skin-tones"` takes only people and
            hands with one skin tone. Except for `"single"`, the training data contain glyphs that
            differ from a held-out glyph only in its colors.
        test_fraction: the held-out fraction, rounded down.
        seed: the seed of the split.

    Raises:
        DataError: the font is missing, or does not have bitmap glyphs.

    Example:
        >>> emoji(font="nowhere.ttf")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: emoji: the font nowhere.ttf does not exist.
    """
    from fontTools.ttLib import TTFont, TTLibError

    path = _FONT if font is None else local_path(font, "emoji: font", DataError)
    if not path.is_file():
        advice = ""
        if font is None:
            advice = " Install the Debian package fonts-noto-color-emoji, or set font."
        raise MissingDataError(f"emoji: the font {path} does not exist.{advice}")
    try:
        with TTFont(path) as opened:
            strikes = opened["CBDT"].strikeData if "CBDT" in opened else []
            strike = strikes[0] if strikes else {}
            chosen = _chosen(opened, glyphs, list(strike))
            pictures = {name: strike[name].imageData for name in chosen}
    except (TTLibError, OSError, AttributeError) as error:
        raise DataError(
            f"emoji: {path} cannot be read as a font with bitmap glyphs ({error})."
        ) from error
    if not pictures:
        raise DataError(f"emoji: {path} does not have such bitmap glyphs (a table CBDT).")
    images = [_square(io.BytesIO(pictures[name]), size, name) for name in sorted(pictures)]
    return _split({"x": images}, test_fraction, seed, "emoji", groups=(("x",),))


def _chosen(font: Any, glyphs: Glyphs, names: Sequence[str]) -> list[str]:
    """Return those of the glyphs of a font that `emoji` is asked for."""
    if glyphs == "all":
        return list(names)
    characters = font.getBestCmap()
    if glyphs == "single":
        known = set(characters.values())
        return [name for name in names if name in known]
    tones = {characters[code] for code in _SKIN_TONES if code in characters}
    sequences = _ligatures(font)

    def spelled(name: str) -> list[str]:
        parts = sequences.get(name)
        return [name] if parts is None else [one for part in parts for one in spelled(part)]

    return [
        name
        for name in names
        if name in sequences and sum(part in tones for part in spelled(name)) == 1
    ]


def _ligatures(font: Any) -> dict[str, list[str]]:
    """Return the glyphs that a font draws for a sequence of glyphs, with the sequences."""
    sequences: dict[str, list[str]] = {}
    for lookup in font["GSUB"].table.LookupList.Lookup if "GSUB" in font else []:
        for table in lookup.SubTable:
            table = getattr(table, "ExtSubTable", table)
            for first, ligatures in getattr(table, "ligatures", {}).items():
                for ligature in ligatures:
                    sequences.setdefault(ligature.LigGlyph, [first, *ligature.Component])
    return sequences


def icons(
    size: Count = 32,
    *,
    paired: bool = False,
    folder: LocalPath | None = None,
    test_fraction: Fraction = 0.1,
    seed: Seed = 0,
) -> Dataset:
    """Return icons of the themes Tango (x) and Oxygen (y) on white, uint8 `(N, 3, size, size)`.

    Arguments:
        size: the size in pixels. The themes' icons of 32 pixels are resized if needed.
        paired: use only icons that both themes have, as pairs.
        folder: the folder with the themes `Tango` and `oxygen/base`. By default, the folder of the
            Debian packages tango-icon-theme (public domain) and oxygen-icon-theme (LGPL).
        test_fraction: the held-out fraction of each theme, rounded down.
        seed: the seed of the split.

    Raises:
        DataError: a theme is missing.

    Example:
        >>> icons(folder="nowhere")
        Traceback (most recent call last):
        genzoo.errors.MissingDataError: icons: nowhere/Tango/32x32 does not contain icons. ...
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
    groups = (("x", "y"),) if paired else (("x",), ("y",))
    return _split(columns, test_fraction, seed, "icons", groups=groups)


def _theme(folder: Path, package: str) -> dict[str, Path]:
    """Return category and name -> file for a theme, without links to the same icon.

    Raises:
        MissingDataError: the folder does not contain icons.
    """
    files = [file for file in sorted(folder.glob("*/*.png")) if not file.is_symlink()]
    if not files:
        raise MissingDataError(
            f"icons: {folder} does not contain icons. Install the Debian package {package}."
        )
    return {f"{file.parent.name}/{file.stem}": file for file in files}


def _square(source: Any, size: int, name: str) -> Any:
    """Return an image on a white square, uint8 `(3, size, size)`.

    Raises:
        DataError: the image cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(source) as opened:
            image = opened.convert("RGBA")
    # Pillow raises different errors for different formats.
    except (OSError, SyntaxError, ValueError) as error:
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
    """Return a dataset in a random order that is the same for the columns of a group.

    The last rows are held out.
    """
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
