"""The path from stored rows to batches on the device.

Small datasets are kept on the device as they are stored (uint8 stays uint8), and a batch is an
`index_select`, which is much faster than a data loader. Larger datasets, and columns that are not
arrays, are read by a `DataLoader` behind the same interface, and the batches are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import count
from types import MappingProxyType

import torch
from torch import Tensor
from torch.utils import data as loading

from genzoo import memory
from genzoo.contract import Batch, Model, is_image
from genzoo.contract.column import block_of
from genzoo.contract.dataset import Dataset
from genzoo.data.augment import augment
from genzoo.data.columns import CheckedColumn, load, open_column, take
from genzoo.data.order import epoch_order
from genzoo.distributed import emulate_rank
from genzoo.distributed.keyed_draws import draws
from genzoo.distributed.random_state import exclusive
from genzoo.errors import DataError, SettingError

__all__ = ["Rows", "Stream", "iterate_split", "once"]

Rows = Mapping[str, Tensor]
Columns = Mapping[str, Tensor | CheckedColumn]


class Stream:
    """An endless sequence of batches of the training split.

    Batch i is a pure function of the dataset, the seed, and i. Each epoch visits a group of columns
    in a new order and drops the rows that do not fill a batch. Groups of different lengths have
    separate epochs. Images are changed as the dataset's `augment` says.

    If a column of a group has a `block` (see `genzoo.contract.Column`), the blocks come in random
    order, and the rows of 256 blocks at a time are mixed. The order of any batch is computed
    without those before it, in memory that does not grow with the number of rows.

    Arguments:
        dataset: the dataset.
        inputs: the columns that a model reads; no other column is read.
        batch_size: the number of rows per batch, over all ranks together.
        seed: the seed of the orders, and of the noise that the dataset adds.
        device: the device of the batches.
        rank: the number of this process, which gets its own rows of each batch.
        size: the number of processes.
        microbatches: the number of parts of a batch. Each part has the same rows for any number of
            processes, so a rank's rows are its share of the first part, then of the second, and so
            on.
        resident: keep the columns on the device. None: if they fit into half of its free memory,
            and none has a `block`. On the CPU, only arrays are kept.
        dtype: the dtype of floats; by default torch's default dtype.
        workers: the number of processes that read rows which are not resident. 0 reads them in this
            process, which is best for small images.

    Raises:
        DataError: a column is missing, or the dataset has fewer rows than a batch.
        SettingError: the batch cannot be divided among the ranks and microbatches, or there are no
            images to augment.

    Example:
        >>> data = Dataset({"x": torch.rand(10, 2)})
        >>> stream = Stream(data, ("x",), 4, seed=0, device=torch.device("cpu"))
        >>> next(stream.batches()).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        dataset: Dataset,
        inputs: Sequence[str],
        batch_size: int,
        *,
        seed: int,
        device: torch.device,
        rank: int = 0,
        size: int = 1,
        microbatches: int = 1,
        resident: bool | None = None,
        dtype: torch.dtype | None = None,
        workers: int = 0,
    ) -> None:
        if batch_size < 1 or batch_size % (size * microbatches):
            among = f"{size} ranks" + f" times {microbatches} microbatches" * (microbatches > 1)
            raise SettingError(
                f"batch_size = {batch_size} cannot be divided among {among}; make it a positive "
                "multiple."
            )
        self.dataset, self.batch_size, self.seed, self.device = dataset, batch_size, seed, device
        self.rank, self.size, self.dtype, self.workers = rank, size, dtype, workers
        self.microbatches = microbatches
        self.columns = _columns(dataset, inputs, "train")
        read = [
            (number, group)
            for number, group in enumerate(dataset.groups)
            if set(group) & set(inputs)
        ]
        self.group_of = {name: index for index, (_, group) in enumerate(read) for name in group}
        self.groups = [(number, len(dataset.train[group[0]])) for number, group in read]
        # column -> the number of its group: paired images are changed in the same way
        self.augmented = {
            name: self.groups[index][0]
            for name, index in self.group_of.items()
            if dataset.augment and name in inputs and is_image(dataset.shape_of(name))
        }
        if dataset.augment and not self.augmented:
            raise SettingError(
                f"{dataset.name}: augment = {list(dataset.augment)} changes images, and the model "
                f"reads none; it reads {', '.join(inputs)}. Leave out augment."
            )
        self.blocks = {number: _block(dataset, group) for number, group in read}
        for (_, group), (_, rows) in zip(read, self.groups, strict=True):
            if rows < batch_size:
                raise DataError(
                    f"{dataset.name}, train has {rows} rows ({', '.join(group)}), too few for one "
                    f"batch: lower batch_size = {batch_size} to {rows} or less."
                )
        self.resident = _fits(self.columns, device) if resident is None else resident
        if self.resident:
            self.columns = {name: load(column, device) for name, column in self.columns.items()}

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches per epoch of the first group that is read."""
        _, rows = self.groups[0]
        return rows // self.batch_size

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield this rank's rows of batch `start`, `start + 1`, and so on, without end.

        A batch is a tensor for one input and a mapping for several.
        """
        for i, rows in enumerate(self._stored(start), start):
            key = (self.seed, "data", i)
            changes = {name: partial(self._augment, key, name) for name in self.augmented}
            yield _batch(
                self.dataset,
                rows,
                self.device,
                self.dtype,
                self.microbatches,
                *key,
                changes=changes,
            )

    def _augment(self, key: Sequence[object], name: str, x: Tensor) -> Tensor:
        """Change the images of a column of one batch."""
        key = (*key, "augment", self.augmented[name])
        with draws(self.device, *key, part=None, parts=self.microbatches):
            return augment(x, self.dataset.augment)

    def _stored(self, start: int) -> Iterator[Rows]:
        source = _Rows(self.columns, self.group_of)
        if self.resident:
            yield from map(source.read, self._indices(start, self.device))
        loader = loading.DataLoader(
            source,
            sampler=self._indices(start, torch.device("cpu")),  # type: ignore[arg-type]
            # The sampler yields whole batches.
            batch_size=None,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            # Otherwise, the loader would use torch's default generator.
            generator=torch.Generator(),
        )
        for rows in loader:
            if isinstance(rows, DataError):
                raise rows
            yield rows

    def _indices(self, start: int, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """Yield the row numbers in each group, for each batch from `start` on."""
        orders = (self._order(number, rows, start, device) for number, rows in self.groups)
        return zip(*orders, strict=True)

    def _order(self, group: int, rows: int, start: int, device: torch.device) -> Iterator[Tensor]:
        per_epoch = rows // self.batch_size
        now, first = divmod(start, per_epoch)
        for epoch in count(now):
            # The order is computed on the CPU, so it is the same for every device.
            order = epoch_order(rows, self.blocks[group], self.seed, "order", group, epoch)
            if isinstance(order, Tensor):
                order = order.to(device)
            for k in range(first, per_epoch):
                batch = order[k * self.batch_size : (k + 1) * self.batch_size].to(device)
                yield batch.view(self.microbatches, self.size, -1)[:, self.rank].flatten()
            first = 0


def once(
    dataset: Dataset,
    inputs: Sequence[str],
    batch_size: int,
    *,
    device: torch.device,
    split: str = "test",
    limit: int | None = None,
    dtype: torch.dtype | None = None,
) -> Iterator[Batch]:
    """Yield the batches of one pass over a split in its stored order.

    The last batch may be shorter. Batches are the same on every rank and for every call. Unpaired
    columns are read in parallel, up to the length of the shortest. Noise that the dataset adds has
    fixed seeds, and the caller's random state does not change.

    Arguments:
        dataset: the dataset.
        inputs: the columns that a model reads.
        batch_size: the number of rows per batch.
        device: the device of the batches.
        split: `"train"` or `"test"`.
        limit: the largest number of rows to read.
        dtype: the dtype of floats; by default torch's default dtype.

    Raises:
        DataError: a column, or the split, is missing.

    Example:
        >>> data = Dataset({"x": torch.rand(10, 2)})
        >>> batches = once(data, ("x",), 4, device=torch.device("cpu"), split="train")
        >>> [len(batch) for batch in batches]
        [4, 4, 2]
    """
    columns = _columns(dataset, inputs, split)
    rows = min(len(column) for column in columns.values())
    rows = rows if limit is None else min(rows, limit)
    for i, begin in enumerate(range(0, rows, batch_size)):
        stored = {
            name: column[begin : min(begin + batch_size, rows)] for name, column in columns.items()
        }
        with emulate_rank(0, 1), exclusive():
            batch = _batch(dataset, stored, device, dtype, 1, "once", split, i)
        yield batch


def iterate_split(
    dataset: Dataset,
    columns: Sequence[str],
    batch_size: int,
    model: Model,
    split: str = "test",
    limit: int | None = None,
) -> Iterator[Batch]:
    """Yield each row of a split once, in batches on the model's device and in its dtype."""
    like = model.reference_tensor
    # Double precision keeps small differences of large numbers.
    dtype = torch.promote_types(like.dtype, torch.get_default_dtype())
    batches = once(
        dataset, columns, batch_size, device=like.device, split=split, limit=limit, dtype=dtype
    )
    for batch in batches:
        if isinstance(batch, Tensor):
            yield _in_dtype(batch, like.dtype)
        else:
            yield {name: _in_dtype(column, like.dtype) for name, column in batch.items()}


def _in_dtype(column: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a column in a floating-point dtype; integers stay integers."""
    return column.to(dtype) if column.is_floating_point() else column


class _Rows(loading.Dataset[Rows | DataError]):
    """A torch dataset that maps row numbers of each group to stored rows of each column."""

    def __init__(self, columns: Columns, group_of: Mapping[str, int]) -> None:
        self.columns, self.group_of = columns, group_of

    def read(self, indices: tuple[Tensor, ...]) -> Rows:
        return {
            name: take(column, indices[self.group_of[name]])
            for name, column in self.columns.items()
        }

    def __getitem__(self, indices: tuple[Tensor, ...]) -> Rows | DataError:
        # a loader would add the traceback of its worker to the message
        try:
            return self.read(indices)
        except DataError as error:
            return error


def _batch(
    dataset: Dataset,
    stored: Rows,
    device: torch.device,
    dtype: torch.dtype | None,
    microbatches: int,
    *key: object,
    changes: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({}),
) -> Batch:
    """Prepare stored rows for a model; `key` seeds the noise that the dataset adds."""
    noisy = dataset.dequantize or dataset.binarize == "stochastic"
    with draws(device, *key, part=None, parts=microbatches) if noisy else nullcontext():
        batch = {
            name: dataset.prepare(rows.to(device, non_blocking=True), dtype, changes.get(name))
            for name, rows in stored.items()
        }
    return batch if len(batch) > 1 else next(iter(batch.values()))


def _columns(dataset: Dataset, inputs: Sequence[str], split: str) -> Columns:
    columns = dataset.split(split)
    for name in inputs:
        if name not in columns:
            raise DataError(
                f"{dataset.name}, {split} has no column {name!r}, one of {tuple(inputs)} that are "
                f"to be read; it has {', '.join(columns)}."
            )
    return {name: open_column(dataset, split, name) for name in inputs}


def _block(dataset: Dataset, group: Sequence[str]) -> int | None:
    """Return the largest block of the columns of a group, whether they are read or not."""
    blocks = [block_of(dataset.train[name]) for name in group]
    return max((block for block in blocks if block is not None), default=None)


def _fits(columns: Columns, device: torch.device) -> bool:
    """Return True if columns fit into half of the device's free memory."""
    if any(block_of(column) is not None for column in columns.values()):
        return False
    # On the CPU, arrays are in memory, or memory-mapped and paged by the system.
    if device.type == "cpu":
        return all(isinstance(column, Tensor) for column in columns.values())
    free = memory.free_memory(device)
    needed = sum(math.prod(column.shape) * column.dtype.itemsize for column in columns.values())
    return free is None or needed <= free / 2
