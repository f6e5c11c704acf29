"""Evidence: a model, rows of data, samples, and features, each computed once and shared."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from genzoo.contract import (
    Batch,
    Dataset,
    FeatureNetwork,
    Figure,
    Part,
    Source,
    conditions,
    generated_columns,
)
from genzoo.contract.inputs import fits, whole
from genzoo.data.arrays import as_dataset
from genzoo.data.columns import open_column, take
from genzoo.data.duplicates import count_duplicates
from genzoo.data.order import random_rows
from genzoo.data.stream import iterate_split
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import DataError
from genzoo.metrics.features import build_network, extract_features
from genzoo.metrics.samples import Samples

__all__ = ["Evidence"]

_FIT_BATCH_SIZE = 500
"""The rows that a network learns from are read in batches of this size.

The noise of dequantized rows depends on the size, and the network must not depend on the
evaluation's `batch_size`.
"""


class Evidence:
    """The material of an evaluation: a model, rows of data, samples, and their features.

    Samples and features are computed when a metric first asks for them, then kept on the CPU, so
    all metrics share them. Everything random has its own seed: the results of a metric do not
    depend on which other metrics were measured. Memory grows linearly with the number of rows.

    Arguments:
        model: a model in eval mode.
        data: a `Dataset`, or a name, table, or arrays as for `genzoo.fit`.
        n: the largest number of held-out rows to use. They are the first ones. It is lowered to the
            number of `Samples`.
        seed: the seed of the samples and of the choice of training rows.
        batch_size: the number of rows per batch.
        network: the feature network of metrics that do not name one. None selects the one for the
            model's shape.

    Raises:
        DataError: the data have no held-out rows, a column that the model reads is missing, or the
            rows have another shape than the samples of the model.
        SettingError: `n` or `batch_size` is not a positive integer.

    Example:
        >>> from genzoo import build
        >>> evidence = Evidence(build("vae", shape=(1, 8, 8)), "digits", n=100)
        >>> evidence.samples.shape, evidence.features("pixels", "test").shape
        (torch.Size([100, 1, 8, 8]), torch.Size([100, 64]))
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        *,
        n: int = 10_000,
        seed: int = 0,
        batch_size: int = 500,
        network: Part | None = None,
    ) -> None:
        self.model, self.seed = model, seed
        self.default_network = network
        self.batch_size = whole(batch_size, f"batch_size = {batch_size!r}", 1)
        self.dataset = as_dataset(data)
        self.n = min(whole(n, f"n = {n!r}", 1), _rows(self.dataset, model, "test"))
        if isinstance(model, Samples):
            self.n = min(self.n, len(model))
        self._check_shape()
        self.notes: list[str] = []
        """Sentences for the report, such as about networks that were trained."""
        self.figures: dict[str, Figure] = {}
        """Figures for the report, by name."""
        self._reads: tuple[str, ...] = ()
        # Shared by all copies, see `reading`.
        self._cache: dict[Any, Any] = {}

    def _check_shape(self) -> None:
        """Check that the rows have the shape of samples."""
        columns, model = generated_columns(self.model), self.model
        if len(columns) != 1 or columns[0] not in self.dataset.train:
            return
        shape = tuple(self.dataset.shape_of(columns[0]))
        if shape != tuple(model.shape):
            raise DataError(
                f"{type(model).__name__} generates examples of shape {tuple(model.shape)}, but "
                f"column {columns[0]!r} of {self.dataset.name} has examples of shape {shape}; "
                "evaluate it on data of its own shape."
            )

    def reading(self, columns: Sequence[str]) -> Self:
        """Return a view whose held-out batches have more columns. It shares everything else."""
        view = copy.copy(self)
        view._reads = tuple(columns)
        return view

    def batches(self, split: Literal["test", "train"] = "test") -> Iterator[Batch]:
        """Yield the rows of a split in batches, as `loss` receives them, on the model's device.

        Held-out batches also have the columns of `reading`. `"train"` yields as many training rows
        as held-out rows, or all if there are fewer. The seed chooses them.
        """
        columns, dataset = tuple(self.model.inputs), self.dataset
        if split == "test":
            columns = tuple(dict.fromkeys((*columns, *self._reads)))
        else:
            dataset = self._shared("training rows", self._training_rows)
        return iterate_split(dataset, columns, self.batch_size, self.model, split, limit=self.n)

    def labels(self, column: str, split: Literal["test", "train"] = "test") -> Tensor | None:
        """Return the integer labels of the rows of `batches`, int64 `(n,)`, on the CPU.

        Arguments:
            column: the name of a column.
            split: `"test"`, or `"train"`, which may have fewer rows than n.

        Returns:
            The labels, or None if the split has no such column of integers `(rows,)`.
        """
        return self._shared(("labels", column, split), lambda: self._labels(column, split))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels `y` of the data; empty if they have none."""
        return self.dataset.class_names

    def duplicates(self) -> int:
        """Return the number of held-out rows that also occur in the whole training split."""
        dataset, columns = self.dataset, generated_columns(self.model)
        if len(columns) != 1 or columns[0] not in dataset.train:
            return 0
        return self._shared("duplicates", lambda: count_duplicates(dataset, columns[0], self.n))

    def examples(self, source: Source) -> Iterator[Any]:
        """Yield samples, or the generated columns of a split, in batches on the model's device."""
        if source == "samples":
            for begin in range(0, self.n, self.batch_size):
                yield self._slice(begin)
        else:
            for batch in self.batches(source):
                yield self.model.unpack(batch)[0]

    def conditioned(
        self, split: Literal["test", "train"] = "test"
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the examples of a split with their condition, as arguments of the model's methods.

        Without a condition, there are no arguments.
        """
        for batch in self.batches(split):
            x, given = self.model.unpack(batch)
            yield x, conditions(given)

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Yield held-out examples and as many samples under the same conditions, in batches."""
        return zip(self.examples("test"), self.examples("samples"), strict=True)

    def rows(self, source: Source, indices: Tensor) -> Tensor:
        """Return some rows of `examples`, on the CPU, in the order of their indices.

        Arguments:
            source: `"samples"`, `"test"`, or `"train"`.
            indices: integers, `(k,)`.
        """
        if source == "samples":
            return self.samples[indices]
        order = indices.argsort()
        parts, begin = [], 0
        for batch in self.examples(source):
            inner = indices[order] - begin
            parts.append(batch.cpu()[inner[(inner >= 0) & (inner < len(batch))]])
            begin += len(batch)
        return torch.cat(parts)[order.argsort()]

    @property
    def has_samples(self) -> bool:
        """True if the samples have been generated."""
        return "samples" in self._cache

    @property
    def samples(self) -> Any:
        """The samples, `(n, *shape)`, on the CPU; a mapping for several generated columns.

        They are generated once. A conditional model is given the conditions of the held-out rows.
        """
        return self._shared("samples", self._draw)

    def network(self, network: Part | None = None) -> FeatureNetwork:
        """Return a feature network; by default, the one of the evaluation, or for the shape.

        A network that learns is trained first, on training rows that do not depend on `n` or on
        the seed.

        Arguments:
            network: a name, a table, an instance, or None.

        Raises:
            SettingError: there is no such network, or it does not fit the shape.
        """
        network = self.default_network if network is None else network
        if isinstance(network, FeatureNetwork):
            return self._fitted(build_network(network, self.model.shape))
        key = ("network", repr(network))
        return self._shared(key, lambda: self._fitted(build_network(network, self.model.shape)))

    def features(self, network: Part | None, source: Source) -> Tensor:
        """Return features, float32 `(n, dim)`, on the CPU. They are computed once per network.

        Arguments:
            network: the network, as for `network`.
            source: `"samples"`, `"test"`, or `"train"`, which may have fewer rows than n.

        Raises:
            DataError: the model generates several columns.
        """
        built = self.network(network)
        columns = generated_columns(self.model)
        if len(columns) != 1:
            raise DataError(
                f"Features need one generated column; {type(self.model).__name__} has "
                f"{', '.join(columns)}."
            )

        def computed() -> Tensor:
            parts = [extract_features(built, x).cpu() for x in self.examples(source)]
            return torch.cat(parts)

        return self._shared(("features", built.version, source), computed)

    def _shared(self, key: Any, compute: Any) -> Any:
        """Return a value that is computed once for all metrics."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    @torch.no_grad()
    def _draw(self) -> Any:
        """Generate the samples with a seed of their own."""
        model = self.model
        like = model.reference_tensor
        fits(self.n * math.prod(model.shape), like.cpu(), f"n = {self.n:,} samples")
        stored: dict[str | None, Tensor] = {}
        begin = 0
        with exclusive(like.device):
            reseed(like.device, "evaluate", self.seed, "samples")
            if isinstance(model, Samples):  # in one call, so that no row is drawn twice
                return model.sample(self.n).cpu()
            for batch in self.batches():
                _, given = model.unpack(batch)
                size = model.batch_size(batch)
                samples = model.sample(size, **conditions(given))
                columns = samples if isinstance(samples, Mapping) else {None: samples}
                for name, column in columns.items():
                    if name not in stored:
                        stored[name] = column.new_empty((self.n, *column.shape[1:]), device="cpu")
                    stored[name][begin : begin + size] = column
                begin += size
        return stored.get(None, stored)

    def _slice(self, begin: int) -> Any:
        """Return a batch of samples on the model's device."""
        samples, device = self.samples, self.model.reference_tensor.device
        rows = slice(begin, begin + self.batch_size)
        if isinstance(samples, Mapping):
            return {name: column[rows].to(device) for name, column in samples.items()}
        return samples[rows].to(device)

    def _training_rows(self) -> Dataset:
        """Return a dataset of the chosen training rows. Groups of columns are chosen apart."""
        dataset, inputs = self.dataset, self.model.inputs
        groups = [tuple(name for name in group if name in inputs) for group in dataset.groups]
        train = {
            name: self._chosen(name, number)
            for number, group in enumerate(groups)
            for name in group
        }
        return replace(dataset, train=train, test={}, groups=tuple(filter(None, groups)))

    def _chosen(
        self, name: str, group: int, n: int | None = None, seed: int | None = None
    ) -> Tensor:
        """Return the chosen training rows of a column, by default n of the evaluation's seed."""
        dataset, seed = self.dataset, self.seed if seed is None else seed
        n = min(n or self.n, _rows(dataset, self.model, "train"))
        column = open_column(dataset, "train", name)
        numbers = random_rows(len(column), n, "evaluate", seed, "training rows", group)
        return take(column, numbers.to(column.device) if isinstance(column, Tensor) else numbers)

    def _fitted(self, network: FeatureNetwork) -> FeatureNetwork:
        """Return a network after it has learned from training rows, if it does."""
        if network.training_rows:
            dataset, (name, *_) = self.dataset, generated_columns(self.model)
            group = next(i for i, names in enumerate(dataset.groups) if name in names)
            chosen = self._chosen(name, group, n=network.training_rows, seed=0)
            dataset = replace(dataset, train={name: chosen}, test={}, groups=((name,),))
            batches = iterate_split(dataset, (name,), _FIT_BATCH_SIZE, self.model, "train")
            note = network.fit(torch.cat([*batches]))  # type: ignore[list-item]
            self.notes += [note] if note else []
        return network

    def _labels(self, column: str, split: Literal["test", "train"]) -> Tensor | None:
        """Return the labels of held-out rows, or of the chosen training rows, if there are any."""
        dataset, (name, *_) = self.dataset, generated_columns(self.model)
        if column not in dataset.split(split) or name not in dataset.split(split):
            return None
        stored = open_column(dataset, split, column)
        if len(stored.shape) != 1 or stored.dtype.is_floating_point:
            return None
        if split == "train":
            groups = [number for number, group in enumerate(dataset.groups) if column in group]
            if name not in dataset.groups[groups[0]]:
                return None
            stored = self._chosen(column, groups[0])
        return stored[: self.n].long().cpu()


def _rows(dataset: Dataset, model: Any, split: str) -> int:
    """Return the number of rows of a split that a model can read.

    Raises:
        DataError: the split or a column is missing.
    """
    columns = dataset.split(split)
    for name in model.inputs:
        if name not in columns:
            raise DataError(
                f"{type(model).__name__} reads the column {name!r}, but the {split} split of "
                f"{dataset.name} has {', '.join(columns)}."
            )
    return min(len(columns[name]) for name in model.inputs)
