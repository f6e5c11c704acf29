"""Datasets: named columns, and the conversion of stored rows to the inputs of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args

import torch
from annotated_types import Gt, MinLen
from torch import Tensor
from torch.nn.functional import one_hot

from genzoo.contract.column import (
    check_column,
    check_values,
    dtype_name,
    in_memory,
    is_image,
    is_uint8,
)
from genzoo.distributed import uniform
from genzoo.errors import DataError, SettingError, did_you_mean, printable, shorten, show

__all__ = ["Augmentation", "Dataset", "Shape"]

Shape = Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)]
"""The shape of one example: `(D,)` for vectors, `(C, H, W)` for images."""

_LISTED = 8
"""The largest number of columns that the text of a dataset lists."""
_SETTINGS = ("levels", "binarize", "dequantize", "augment", "standardize", "symbols")

Augmentation = Literal["flip", "vertical-flip", "shift", "crop", "jitter"]
"""A random change of training images; see `Dataset`."""


@dataclass(frozen=True, repr=False)
class Dataset:
    """Named columns of a training split, a test split, and perhaps a validation split.

    Arguments:
        train: column name -> column with one row per example: a tensor, a NumPy array, a memory
            map, or another `Column`, of uint8 levels, floats, or integer labels. `shape` is the
            shape of the first column.
        test: the same columns for held-out examples, and any other columns that only a metric
            reads. It may be empty.
        validation: the same columns for examples on which training is monitored (see
            `genzoo.train.Settings`). If it is empty, training rows are set aside for this.
        groups: columns that share a permutation, such as paired images, or an image and its label.
            Groups permute independently, so they can be unpaired domains of different lengths. By
            default, all columns are one group.
        levels: the number of values of a uint8 column; level k stands for k / (levels - 1).
        binarize: `"threshold"` (x > 0.5), `"stochastic"` (x is the probability of a one, sampled
            each time), or None.
        dequantize: add uniform noise within a level, (k + u) / levels. Comparisons of image
            densities need it.
        augment: random changes of training images, in this order. Each batch draws them anew, and
            held-out rows are never changed. Paired images are changed in the same way.

            - `"flip"` mirrors half of the images from left to right, and `"vertical-flip"` from top
              to bottom;
            - `"shift"` moves images by up to an eighth of their size, and repeats the edge;
            - `"crop"` enlarges a window of 75 to 100% of the height and width;
            - `"jitter"` changes brightness, contrast, and saturation by up to 20%.
        standardize: let the model compute with columns of mean 0 and standard deviation 1, those
            of the training split. Samples, likelihoods, and evaluations stay in the units of the
            data. It is for tables of real numbers, `(N, D)`.
        symbols: uint8 columns hold indices of this many symbols, such as characters. Each index
            becomes a one-hot vector, so rows of shape `(L,)` are read as `(L, symbols)`.
        metadata: information for the model other than shapes (`{"vocabulary": "abc"}`). Each value
            is passed to a constructor that has a parameter of its name. `class_names` are the
            names of the labels 0, 1, ... in the column `y`; a run keeps them.
        skipped: the names of files that could not be read and are left out; a run lists them.
        name: the name in messages.

    Raises:
        DataError: a column has no rows, a group has unequal lengths, a value is not finite, or a
            float image is outside [0, 1]. Values outside memory are checked when they are read.
        SettingError: `augment` has an unknown name.

    Example:
        >>> data = Dataset({"x": torch.rand(10, 1, 8, 8)})
        >>> data.shape, data.rows("train")
        ((1, 8, 8), 10)
        >>> data
        Dataset 'data'
          train: x float32 (10, 1, 8, 8)
    """

    train: Mapping[str, Any]
    test: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    groups: tuple[tuple[str, ...], ...] = ()
    levels: int = 256
    binarize: Literal["threshold", "stochastic"] | None = None
    dequantize: bool = False
    augment: tuple[Augmentation, ...] = field(default=(), kw_only=True)
    standardize: bool = field(default=False, kw_only=True)
    symbols: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    name: str = "data"

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_types()
        if not self.groups:
            object.__setattr__(self, "groups", (tuple(self.train),))
        self._check_settings()
        self._check_augment()
        self._check_groups()
        self._check_extra_columns()

    def __repr__(self) -> str:
        """Return the name, the columns of each split, and the settings that are not defaults."""
        lines = [f"Dataset {shorten(self.name)!r}"]
        for split, columns in self.splits.items():
            if columns:
                listed = [
                    f"{name} {dtype_name(column)} {tuple(column.shape)}"
                    for name, column in columns.items()
                ]
                rest = f", and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
                lines.append(f"  {split}: {', '.join(listed[:_LISTED])}{rest}")
        if len(self.groups) > 1:
            lines.append(f"  groups: {shorten(str(self.groups))}")
        if self.class_names:
            lines.append(f"  classes: {shorten(', '.join(self.class_names))}")
        changed = [
            f"{one.name} = {getattr(self, one.name)!r}"
            for one in fields(self)
            if one.name in _SETTINGS and getattr(self, one.name) != one.default
        ]
        if changed:
            lines.append(f"  settings: {', '.join(changed)}")
        return "\n".join(map(printable, lines))

    def _check_columns(self) -> None:
        """Check that the splits are mappings to arrays."""
        for split, columns in self.splits.items():
            if not isinstance(columns, Mapping):
                raise DataError(
                    f"{self.name}, {split} = {show(columns)}: expected columns, as in {{'x': ...}}."
                )
            for name, column in columns.items():
                check_column(f"{self.name}, {split}, column {name!r}", column)

    def _check_types(self) -> None:
        """Check the types of `groups`, `levels`, and `symbols`."""
        if isinstance(self.groups, str) or not isinstance(self.groups, Iterable):
            raise DataError(
                f"{self.name}: groups = {show(self.groups)}: expected tuples of column names, as "
                "in (('x',), ('y',))."
            )
        for setting in ("levels", "symbols"):
            value = getattr(self, setting)
            if not isinstance(value, int | None) or (value is None and setting == "levels"):
                raise DataError(
                    f"{self.name}: {setting} = {show(value)}; expected a whole number up to 256."
                )

    def _check_settings(self) -> None:
        """Check the values of `binarize`, `dequantize`, `symbols`, and `levels`."""
        if self.binarize and self.dequantize:
            raise DataError(f"{self.name}: binarize and dequantize exclude each other; choose one.")
        if self.symbols is not None:
            if not 1 <= self.symbols <= 256:
                raise DataError(f"{self.name}: symbols = {self.symbols}; expected 1 to 256.")
            if self.binarize or self.dequantize or self.augment:
                raise DataError(
                    f"{self.name}: symbols = {self.symbols} excludes binarize, dequantize, and "
                    "augment; choose one."
                )
        if not 2 <= self.levels <= 256:
            raise DataError(f"{self.name}: levels = {self.levels}; expected 2 to 256.")

    def _check_augment(self) -> None:
        """Check the names in `augment`."""
        names = get_args(Augmentation)
        if isinstance(self.augment, str) or not isinstance(self.augment, Iterable):
            raise SettingError(
                f"{self.name}: augment = {show(self.augment)}: expected a list of names, as in "
                '["flip", "shift"].'
            )
        object.__setattr__(self, "augment", tuple(self.augment))
        for name in self.augment:
            if name not in names:
                raise SettingError(
                    f"{self.name}: augment has no change {show(name)}; it has "
                    f"{', '.join(names)}.{did_you_mean(str(name), names)}"
                )

    def _check_groups(self) -> None:
        """Check that each column is in one group, and that the columns of a group fit together."""
        grouped = [name for group in self.groups for name in group]
        if sorted(grouped) != sorted(self.train):
            raise DataError(
                f"{self.name}: groups {self.groups} must name each column once; the columns are "
                f"{', '.join(self.train)}."
            )
        for split, columns in self.splits.items():
            for name, column in columns.items():
                if name in self.train and column.shape[1:] != self.train[name].shape[1:]:
                    train, other = tuple(self.train[name].shape[1:]), tuple(column.shape[1:])
                    raise DataError(
                        f"{self.name}: column {name!r} has rows of shape {train} in train and "
                        f"{other} in {split}; make them equal."
                    )
        for split, columns in self.splits.items():
            if split != "train" and not columns:
                continue
            for group in self.groups:
                present = {name: columns[name] for name in group if name in columns}
                path = f"{self.name}, {split}"
                _check_group(path, present, group, self.value_count)

    def _check_extra_columns(self) -> None:
        """Check the held-out columns that are not trained on."""
        lengths = {len(column) for name, column in self.test.items() if name in self.train}
        for name in self.test.keys() - self.train.keys():
            path = f"{self.name}, test, column {name!r}"
            if len(self.test[name]) not in lengths:
                raise DataError(
                    f"{path}: has {len(self.test[name])} rows, but the other columns have "
                    f"{sorted(lengths)}."
                )
            if in_memory(self.test[name]):
                check_values(path, self.test[name], self.value_count)

    @property
    def value_count(self) -> int:
        """The number of values that a uint8 column may have: symbols, or levels."""
        return self.symbols or self.levels

    @property
    def shape(self) -> Shape:
        """The shape of one example of the first column."""
        return self.shape_of(next(iter(self.train)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels 0, 1, ... in the column `y`; empty if they have no names."""
        return tuple(map(str, self.metadata.get("class_names", ())))

    def shape_of(self, column: str) -> Shape:
        """Return the shape of one row of a column, as a model receives it.

        Raises:
            DataError: the dataset does not have this column.
        """
        if column not in self.train:
            raise DataError(
                f"{self.name} has no column {column!r}; it has {', '.join(self.train)}."
            )
        stored = self.train[column]
        shape = tuple(stored.shape[1:])
        return (*shape, self.symbols) if self.symbols and is_uint8(stored) else shape

    @property
    def splits(self) -> dict[str, Mapping[str, Any]]:
        """The columns of `"train"`, `"test"`, and `"validation"`, which may be empty."""
        return {"train": self.train, "test": self.test, "validation": self.validation}

    def split(self, name: str) -> Mapping[str, Any]:
        """Return the columns of `"train"`, `"test"`, or `"validation"`.

        Raises:
            DataError: the dataset does not have this split.
        """
        columns = self.splits.get(name)
        if not columns:
            present = [split for split, held in self.splits.items() if held]
            has = f"{present[0]} only" if len(present) == 1 else " and ".join(present)
            raise DataError(f"{self.name} has no {name} split; it has {has}.")
        return columns

    def rows(self, split: str = "train") -> int:
        """Return the number of examples in a split, which is the length of its first column."""
        return len(next(iter(self.split(split).values())))

    def prepare(
        self,
        stored: Tensor,
        dtype: torch.dtype | None = None,
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Convert stored rows to a model's input.

        Uint8 levels become floats in [0, 1], with noise or binarization if requested. Integers do
        not change. Random conversions draw for the whole batch (see `genzoo.distributed`).

        Arguments:
            stored: rows of a column.
            dtype: the dtype of floats; by default, torch's default dtype.
            change: a change of images in [0, 1], such as an augmentation, before noise is added
                and before they are binarized.
        """
        has_levels = stored.dtype == torch.uint8
        if not has_levels and not stored.is_floating_point():
            return stored
        dtype = dtype or torch.get_default_dtype()
        if self.symbols and has_levels:
            return one_hot(stored.long(), self.symbols).to(dtype)
        values = stored.to(dtype)
        if not has_levels and is_image(tuple(values.shape[1:])):
            values = values.clamp(0, 1)
        if has_levels and self.dequantize:
            if change is not None:
                values = change(values / (self.levels - 1)) * (self.levels - 1)
            noisy = values + uniform(len(values), *values.shape[1:], like=values)
            return (noisy / self.levels).to(values.dtype)
        if has_levels:
            values = values.div_(self.levels - 1)
        if change is not None:
            values = change(values)
        if self.binarize == "threshold":
            return (values > 0.5).to(values.dtype)
        if self.binarize == "stochastic":
            u = uniform(len(values), *values.shape[1:], like=values)
            return (u < values).to(values.dtype)
        return values


def _check_group(
    path: str, columns: Mapping[str, Any], group: tuple[str, ...], levels: int
) -> None:
    """Check that the columns of a group exist and have equal lengths and valid values."""
    missing = [name for name in group if name not in columns]
    if missing or not columns:
        raise DataError(
            f"{path}: there is no column {', '.join(missing) or 'at all'}; each split must have "
            "the same columns."
        )
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{path}: columns of one group have different lengths: {lengths}; put unpaired columns "
            "in separate groups."
        )
    for name, column in columns.items():
        if not len(column):
            raise DataError(f"{path}: column {name!r} has no rows.")
        if in_memory(column):
            check_values(f"{path}, column {name!r}", column, levels)
