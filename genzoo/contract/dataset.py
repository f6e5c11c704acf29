"""What a data set is: named columns of a train and a test split, and the one way from stored rows to what a model sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Gt, MinLen
from torch import Tensor
from torch.nn.functional import one_hot

from genzoo.distributed import uniform
from genzoo.errors import DataError, show

Shape = Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)]
"""The shape of one example: `(D,)` for vectors, `(C, H, W)` for images."""


def is_image(shape: Shape) -> bool:
    """Whether a shape is that of an image, `(C, H, W)`: then values are in [0, 1] at every boundary."""
    return len(shape) == 3


@dataclass(frozen=True)
class Dataset:
    """Named columns of a train and a test split.

    Arguments:
        train: column -> array with one row an example: uint8 levels or floats (integers for labels); a tensor, a numpy array or a
            memory-mapped one. The first column is the one that `shape` speaks of.
        test: the same columns, held out, and any others that only a metric reads; may be empty.
        groups: columns that share a permutation (paired images, an image and its label); groups permute independently (unpaired
            domains, of any lengths). By default all columns are one group.
        levels: how many values a uint8 column has; level k stands for k / (levels - 1).
        binarize: `"threshold"` (x > 0.5), `"stochastic"` (x is the probability of a one, drawn anew each time), or None.
        dequantize: add uniform noise within a level, (k + u) / levels; needed wherever densities of images are compared.
        symbols: uint8 columns hold numbers of so many symbols, such as characters; each becomes a one-hot vector, so that rows of
            shape `(L,)` are read as `(L, symbols)`.
        tells: what a model may want to know beside shapes (`{"vocabulary": "abc"}`): where its constructor has a setting of that
            name, it is handed down.
        name: what messages call it.

    Raises:
        DataError: no rows, unequal lengths in a group, a value that is not finite, a float image outside [0, 1].

    Example:
        >>> data = Dataset({"x": torch.rand(10, 1, 8, 8)})
        >>> data.shape, data.rows("train")
        ((1, 8, 8), 10)
    """

    train: Mapping[str, Any]
    test: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[tuple[str, ...], ...] = ()
    levels: int = 256
    binarize: Literal["threshold", "stochastic"] | None = None
    dequantize: bool = False
    symbols: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = "data"

    def __post_init__(self) -> None:
        for split, columns in (("train", self.train), ("test", self.test)):
            if not isinstance(columns, Mapping):
                raise DataError(
                    f"{self.name}, {split} = {show(columns)}: expected columns, as in {{'x': ...}}."
                )
            for name, column in columns.items():
                _check_column(f"{self.name}, {split}, column {name!r}", column)
        if isinstance(self.groups, str) or not isinstance(self.groups, Iterable):
            raise DataError(
                f"{self.name}: groups = {show(self.groups)}: expected tuples of columns' names, as in (('x',), ('y',))."
            )
        for setting in ("levels", "symbols"):
            value = getattr(self, setting)
            if not isinstance(value, int | None) or (value is None and setting == "levels"):
                raise DataError(
                    f"{self.name}: {setting} = {show(value)}; expected a whole number up to 256."
                )
        if not self.groups:
            object.__setattr__(self, "groups", (tuple(self.train),))
        if self.binarize and self.dequantize:
            raise DataError(f"{self.name}: binarize and dequantize exclude each other; choose one.")
        if self.symbols is not None and (
            self.binarize or self.dequantize or not 1 <= self.symbols <= 256
        ):
            raise DataError(
                f"{self.name}: symbols = {self.symbols}; there are 1 to 256, and neither binarize nor dequantize."
            )
        if not 2 <= self.levels <= 256:
            raise DataError(
                f"{self.name}: levels = {self.levels}; a uint8 column has from 2 to 256."
            )
        grouped = [name for group in self.groups for name in group]
        if sorted(grouped) != sorted(self.train):
            raise DataError(
                f"{self.name}: groups {self.groups} must name each column once; the columns are {', '.join(self.train)}."
            )
        for name, column in self.test.items():
            if name in self.train and column.shape[1:] != self.train[name].shape[1:]:
                shapes = f"{tuple(self.train[name].shape[1:])} in train and {tuple(column.shape[1:])} in test"
                raise DataError(
                    f"{self.name}: column {name!r} has rows of shape {shapes}; make them equal."
                )
        for split, columns in (("train", self.train), ("test", self.test)):
            if split == "test" and not columns:
                continue
            for group in self.groups:
                own = {name: columns[name] for name in group if name in columns}
                _check_group(f"{self.name}, {split}", own, group, self.symbols or self.levels)
        lengths = {len(column) for name, column in self.test.items() if name in self.train}
        for name in self.test.keys() - self.train.keys():
            place = f"{self.name}, test, column {name!r}"
            if len(self.test[name]) not in lengths:
                raise DataError(
                    f"{place}: has {len(self.test[name])} rows, where others have {sorted(lengths)}."
                )
            _check_values(place, self.test[name], self.symbols or self.levels)

    @property
    def shape(self) -> Shape:
        """The shape of one example of the first column."""
        return self.shape_of(next(iter(self.train)))

    def shape_of(self, column: str) -> Shape:
        """The shape of one row of a column, as a model sees it.

        Raises:
            DataError: there is no such column.
        """
        if column not in self.train:
            raise DataError(
                f"{self.name} has no column {column!r}; it has {', '.join(self.train)}."
            )
        stored = self.train[column]
        shape = tuple(stored.shape[1:])
        return (*shape, self.symbols) if self.symbols and _is_uint8(stored) else shape

    def split(self, name: str) -> Mapping[str, Any]:
        """The columns of `"train"` or `"test"`.

        Raises:
            DataError: the data set has no such split.
        """
        columns = {"train": self.train, "test": self.test}.get(name)
        if not columns:
            raise DataError(
                f"{self.name} has no {name} split; it has {'train and test' if self.test else 'train only'}."
            )
        return columns

    def rows(self, split: str = "train") -> int:
        """How many examples a split holds (of its first column)."""
        return len(next(iter(self.split(split).values())))

    def prepare(self, stored: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Stored rows -> what a model sees: uint8 levels become floats in [0, 1], then noise or bits as asked; integers stay.

        Floats come in `dtype`, torch's default one where none is given. Random settings draw for the whole batch (see
        `genzoo.distributed`).
        """
        if stored.dtype != torch.uint8 and not stored.is_floating_point():
            return stored
        if self.symbols and stored.dtype == torch.uint8:
            return one_hot(stored.long(), self.symbols).to(dtype or torch.get_default_dtype())
        levels = stored.dtype == torch.uint8
        stored = stored.to(dtype or torch.get_default_dtype())
        if levels and self.dequantize:
            spread = stored + uniform(len(stored), *stored.shape[1:], like=stored)
            return (spread / self.levels).to(stored.dtype)
        if levels:
            stored = stored.div_(self.levels - 1)
        if self.binarize == "threshold":
            return (stored > 0.5).to(stored.dtype)
        if self.binarize == "stochastic":
            return (uniform(len(stored), *stored.shape[1:], like=stored) < stored).to(stored.dtype)
        return stored


def check_dense(column: Tensor, place: str) -> None:
    """Refuse a tensor whose rows cannot be read one by one.

    Raises:
        DataError: it is sparse, nested or quantized, or on the meta device, where it has no values.
    """
    if column.is_nested or column.layout is not torch.strided or column.is_quantized:
        which = (
            "nested"
            if column.is_nested
            else "quantized"
            if column.is_quantized
            else str(column.layout)
        )
        raise DataError(
            f"{place} is a {which.removeprefix('torch.')} tensor; hand in a dense one, as by x.to_dense()."
        )
    if column.is_meta:
        raise DataError(
            f"{place} is on the meta device, where tensors have no values; hand in one that has."
        )


def _check_column(place: str, column: Any) -> None:
    """Refuse what is no array with an axis of rows."""
    if isinstance(column, Tensor):
        check_dense(column, place)
    if not all(hasattr(column, name) for name in ("shape", "dtype", "__len__", "__getitem__")):
        raise DataError(
            f"{place} is a {type(column).__name__}; hand in a torch tensor or a numpy array."
        )
    if not column.shape:
        raise DataError(f"{place} is a single number; the first axis is that of the examples.")


def _check_group(
    place: str, columns: Mapping[str, Any], group: tuple[str, ...], levels: int
) -> None:
    missing = [name for name in group if name not in columns]
    if missing or not columns:
        raise DataError(
            f"{place}: there is no column {', '.join(missing) or 'at all'}; a data set has the same columns in each split."
        )
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{place}: columns of one group have different lengths: {lengths}; put unpaired columns in groups of their own."
        )
    for name, column in columns.items():
        if not len(column):
            raise DataError(f"{place}: column {name!r} has no rows.")
        _check_values(f"{place}, column {name!r}", column, levels)


def _is_uint8(column: Any) -> bool:
    return str(column.dtype).removeprefix("torch.") == "uint8"


def _check_values(place: str, column: Any, levels: int) -> None:
    kind = str(column.dtype).removeprefix("torch.")
    if _is_uint8(column) and levels < 256 and int(column.max()) >= levels:
        raise DataError(
            f"{place}: holds {int(column.max())}, where {levels} levels or symbols are 0 to {levels - 1}."
        )
    if not kind.startswith(("float", "bfloat")):
        return
    values = column if isinstance(column, Tensor) else torch.from_numpy(np.asarray(column))
    finite = torch.isfinite(values.reshape(len(values), -1)).all(dim=1)
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        raise DataError(
            f"{place}: row {bad} holds a value that is not finite ({int((~finite).sum())} such rows); clean the data first."
        )
    if is_image(tuple(values.shape[1:])):
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise DataError(
                f"{place}: images are floats in [0, 1] or uint8; these span {low:g} to {high:g}. Rescale them."
            )
