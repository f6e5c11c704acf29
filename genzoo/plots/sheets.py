"""Sheets: images on a grid, with texts next to rows, above columns, or below images."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from genzoo.errors import SettingError, printable
from genzoo.plots.arrange import columns_for, side_by_side
from genzoo.plots.theme import WIDTH, new_figure, style

__all__ = ["Sheet", "halves", "pairs", "sheet"]

_SIDE, _LABELED_SIDE = 640, 1280
"""The target width of the images in pixels, without and with texts."""
_POINTS = 8
"""The size of texts, if the images are 6.4 inches wide."""


_Box = tuple[int, int, int, int]
"""The left, upper, right, and lower end of an image on a sheet, in pixels."""


class _Text(NamedTuple):
    """A text of a sheet: its position in pixels, and the alignment there, `"m"` or `"r"`."""

    x: float
    y: float
    text: str
    align: str


class Sheet:
    """Images on a grid, with texts around them. `sheet` makes one, and a notebook displays it.

    NumPy reads its pixels, texts included: `numpy.asarray(sheet)`.

    Attributes:
        image: the Pillow image.
    """

    def __init__(
        self,
        picture: Any,
        boxes: Sequence[_Box] = (),
        texts: Sequence[_Text] = (),
        text_size: int = 0,
    ) -> None:
        self._picture, self._texts, self._text_size = picture, tuple(texts), text_size
        self._boxes = tuple(boxes) or ((0, 0, *picture.size),)
        self.image = picture.copy() if texts else picture
        if texts:
            from PIL import ImageDraw

            canvas, font = ImageDraw.Draw(self.image), _font(text_size)
            for x, y, text, align in texts:
                canvas.text((x, y), text, fill="black", font=font, anchor=f"{align}m")

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height in pixels."""
        width, height = self.image.size
        return width, height

    def save(self, path: Any) -> None:
        """Write the sheet; see `genzoo.plots.save`."""
        from genzoo.plots.files import save

        save(self, path)

    def figure(self) -> Any:
        """Return the sheet as a matplotlib figure, whose texts can be searched and scaled.

        Images without a margin for texts are 6.4 inches wide.
        """
        width, height = self.size
        inch = self._text_size / _POINTS * 72 if self._text_size else width / WIDTH
        with style():
            figure = new_figure(width / inch, height / inch)
            figure.set_layout_engine("none")
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
            axes.axis("off")
            axes.set_autoscale_on(False)
            # one by one, so that the white lines between images stay sharp at any size
            picture = self._picture.convert("RGB")
            for box in self._boxes:
                left, top, right, bottom = box
                extent = (left, right, bottom, top)
                axes.imshow(picture.crop(box), extent=extent, interpolation="none")
            axes.set_aspect("auto")
            sides = {"m": "center", "r": "right"}
            for x, y, text, align in self._texts:
                axes.text(x, y, text, size=_POINTS, ha=sides[align], va="center", parse_math=False)
        return figure

    def __repr__(self) -> str:
        return f"<Sheet of {self.size[0]} x {self.size[1]} pixels>"

    def _repr_png_(self) -> bytes:
        """Return the sheet for a notebook."""
        from io import BytesIO

        content = BytesIO()
        self.image.save(content, "PNG")
        return content.getvalue()

    @property
    def __array_interface__(self) -> Any:
        return self.image.__array_interface__


def sheet(
    images: Tensor,
    columns: int | None = None,
    side: int | None = None,
    border: int | None = None,
    *,
    labels: Sequence[str] = (),
    titles: Sequence[str] = (),
) -> Sheet:
    """Arrange images on a grid.

    Images that do not have 1 or 3 channels are shown as the mean over their channels. Texts that
    are too long for their place are cut.

    Arguments:
        images: images in [0, 1], `(n, C, H, W)`.
        columns: the number of columns, without empty ones; by default, the grid is nearly square.
        side: the target width of the images in pixels, by default 640, or 1280 with texts. They are
            enlarged by an integer factor.
        border: the width of the white border of each image in pixels, by default 1 for each 640
            pixels of the side.
        labels: a text for each row, which is written on its left, or for each image, which is
            written below it.
        titles: texts above the columns. They are repeated if there are fewer than columns. Adjacent
            columns with the same title share it.

    Raises:
        SettingError: the number of labels is not that of rows or of images, the number of
            titles does not divide that of columns, there are no images or columns, or the images
            are no tensor, or whole numbers, such as bytes.

    Example:
        >>> sheet(torch.rand(6, 1, 8, 8), columns=3, side=54).size
        (54, 36)
        >>> picture = sheet(torch.rand(6, 1, 8, 8), columns=3, labels=["zero", "one"])
    """
    _check_images(images)
    n, width = len(images), images.shape[3]
    columns = columns_for(n, 1) if columns is None else columns
    if columns < 1:
        raise SettingError(f"columns = {columns}: a sheet has at least one column.")
    rows = math.ceil(n / columns)
    _check_texts(labels, titles, n, rows, columns)
    together = max(1, len(titles))
    columns = min(columns, together * math.ceil(n / together))
    if side is None:
        side = _LABELED_SIDE if labels or titles else _SIDE
    if border is None:
        border = max(1, side // _SIDE)
    tiles = _tiles(images, factor=max(1, side // (columns * width)), border=border)
    height, width = tiles.shape[2:]
    size = max(12, round(columns * width * _POINTS / 72 / WIDTH))
    by_image = len(labels) == n > rows
    left = 0 if by_image or not labels else min(_longest(labels, size) + size, columns * width)
    top = 2 * size if titles else 0
    pitch = height + 2 * size * by_image
    grid = tiles.new_ones(tiles.shape[1], top + rows * pitch, left + columns * width)
    boxes = []
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        y, x = top + row * pitch, left + column * width
        grid[:, y : y + height, x : x + width] = tile
        boxes.append((x + border, y + border, x + width - border, y + height - border))
    texts = [*_titles(titles, columns, left, width, size)]
    for index, text in enumerate(labels):
        if by_image:
            x, _, right, bottom = boxes[index]
            center = (x + right) / 2
            texts.append(_Text(center, bottom + border + size, _cut(text, width, size), "m"))
        else:
            middle = top + (index + 0.5) * pitch
            texts.append(_Text(left - size / 2, middle, _cut(text, left - size, size), "r"))
    return Sheet(_picture(grid), boxes, texts, size if texts else 0)


def _check_images(images: Any) -> None:
    if not isinstance(images, torch.Tensor):
        raise SettingError(
            f"images of type {type(images).__name__}: a sheet needs a tensor, (n, C, H, W), such "
            "as model.sample(64) or torch.from_numpy(array)."
        )
    if images.dim() != 4 or images.numel() == 0:
        raise SettingError(
            f"images of shape {tuple(images.shape)}: a sheet needs some images, (n, C, H, W)."
        )
    if not (images.is_floating_point() or images.dtype == torch.bool):
        raise SettingError(
            f"images of dtype {images.dtype}: a sheet needs floats in [0, 1]; divide bytes by 255."
        )


def _tiles(images: Tensor, *, factor: int, border: int) -> Tensor:
    """Return images in gray or color, enlarged by a factor, with a white border."""
    x = images.detach().float().cpu().nan_to_num().clamp(0, 1)
    if x.shape[1] not in (1, 3):
        x = x.mean(dim=1, keepdim=True)
    x = x.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    return torch.nn.functional.pad(x, (border,) * 4, value=1.0)


def _picture(grid: Tensor) -> Any:
    """Return an image, `(C, H, W)`, as a Pillow image."""
    from PIL import Image

    pixels = (grid * 255).round().byte()
    return Image.fromarray(rearrange(pixels, "k h w -> h w k").squeeze(-1).numpy())


def _titles(
    titles: Sequence[str], columns: int, left: int, width: int, size: int
) -> Iterator[_Text]:
    """Yield the texts above the columns, one for adjacent columns with the same title."""
    column = 0
    for text, same in groupby(list(titles) * (columns // max(1, len(titles)))):
        span = len(list(same))
        center = left + (column + span / 2) * width
        yield _Text(center, size, _cut(text, span * width, size), "m")
        column += span


def _check_texts(
    labels: Sequence[str], titles: Sequence[str], n: int, rows: int, columns: int
) -> None:
    if labels and len(labels) not in (rows, n):
        raise SettingError(
            f"{len(labels)} labels for {n} images in {rows} rows: pass one for each row, or one "
            "for each image."
        )
    if titles and columns % len(titles):
        raise SettingError(
            f"{len(titles)} titles for {columns} columns: pass one for each column, or a number "
            "that divides the number of columns."
        )


@lru_cache(maxsize=8)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _line(text: str) -> str:
    return printable(str(text))


def _longest(texts: Sequence[str], size: int) -> int:
    return math.ceil(max(_font(size).getlength(_line(text)) for text in texts))


def _cut(text: str, width: float, size: int) -> str:
    """Return a text that fits into a width; what is cut off becomes an ellipsis."""
    font, whole = _font(size), _line(text)
    if font.getlength(whole) <= width:
        return whole
    ends = range(len(whole))
    fitting = bisect_right(ends, width, key=lambda end: font.getlength(f"{whole[:end]}…"))
    return f"{whole[: fitting - 1]}…" if fitting else ""


def halves(
    left: Tensor, right: Tensor, columns: int = 8, titles: tuple[str, str] = ("", "")
) -> Sheet:
    """Arrange two batches of images side by side, with a gap between them.

    Images that do not fill a row are left out.

    Arguments:
        left: images in [0, 1], `(n, C, H, W)`.
        right: images of the same shape.
        columns: the number of columns of each half.
        titles: the texts above the halves.

    Example:
        >>> halves(torch.rand(6, 1, 8, 8), torch.rand(6, 1, 8, 8), columns=3).size
        (1260, 360)
    """
    gap = left.new_ones(1, *left.shape[1:])
    columns = min(columns, len(left))
    tiles = []
    for row in range(len(left) // columns):
        shown = slice(row * columns, (row + 1) * columns)
        tiles += [left[shown], gap, right[shown]]
    above = [titles[0]] * columns + [""] + [titles[1]] * columns if any(titles) else ()
    return sheet(torch.cat(tiles), 2 * columns + 1, side=_LABELED_SIDE, titles=above)


def pairs(left: Tensor, right: Tensor, titles: Sequence[str] = ()) -> Sheet:
    """Arrange pairs of images on a grid, such as originals and their reconstructions.

    Arguments:
        left: images in [0, 1], `(n, C, H, W)`.
        right: the second image of each pair.
        titles: the texts above the two images of a pair.

    Example:
        >>> x = torch.rand(6, 1, 8, 8)
        >>> pairs(x, x.flip(3), titles=["image", "mirrored"])
        <Sheet of 1296 x 1016 pixels>
    """
    columns = columns_for(len(left), 2)
    return sheet(side_by_side(left, right), columns, side=_LABELED_SIDE, titles=titles)
