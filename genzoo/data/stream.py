"""The path from stored rows to batches on the device.

Small data live on the device as they are stored (uint8 stays uint8) and a batch is an `index_select`, which is many times cheaper
than a loader's round trip. What does not fit is read by a `DataLoader` behind the same interface, and the batches are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import count

import torch
from torch import Tensor
from torch.utils import data as loading

from genzoo import memory
from genzoo.contract import Batch, Model
from genzoo.contract.dataset import Dataset
from genzoo.data.arrays import as_tensor
from genzoo.distributed import draws, emulate_rank, exclusive, seed_for
from genzoo.errors import DataError, SettingError

__all__ = ["Rows", "Stream", "iterate_split", "once"]

Rows = Mapping[str, Tensor]


class Stream:
    """Endless batches of the training split; batch i is a pure function of the data set, the seed and i.

    Each epoch visits a group of columns in a fresh order and drops the rows that fill no batch. Groups of different lengths keep
    epochs of their own.

    Arguments:
        dataset: where the rows come from.
        inputs: the columns that a model reads; no other column is touched.
        batch_size: rows a batch, over all ranks together.
        seed: of the orders, and of the noise where the data set adds any.
        device: where batches go.
        rank: which of the processes this is; it gets its own rows of each batch.
        size: how many processes there are.
        microbatches: how many a batch is split into. Each is the same rows on any number of processes, so a rank's rows are
            its share of the first, then of the second, and so on.
        resident: keep the columns on the device; None asks whether they fit into half of its free memory.
        dtype: of the floats; torch's default one where none is given.
        workers: processes that read rows which are not resident; 0 reads them in this one, which is best for small images.

    Raises:
        DataError: a column is missing, or the data set has fewer rows than a batch.
        SettingError: the batch cannot be divided among the ranks and microbatches.

    Example:
        >>> stream = Stream(Dataset({"x": torch.rand(10, 2)}), ("x",), 4, seed=0, device=torch.device("cpu"))
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
                f"batch_size = {batch_size} cannot be divided among {among}; make it a positive multiple."
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
        self.group_of = {name: place for place, (_, group) in enumerate(read) for name in group}
        self.groups = [(number, len(dataset.train[group[0]])) for number, group in read]
        for (_, group), (_, rows) in zip(read, self.groups, strict=True):
            if rows < batch_size:
                raise DataError(
                    f"{dataset.name}, train has {rows} rows ({', '.join(group)}), too few for one batch: "
                    f"lower batch_size = {batch_size} to {rows} or less."
                )
        self.resident = _fits(self.columns, device) if resident is None else resident
        if self.resident:
            self.columns = {name: column.to(device) for name, column in self.columns.items()}

    @property
    def batches_per_epoch(self) -> int:
        """How many batches a pass through the first of the groups that are read has."""
        _, rows = self.groups[0]
        return rows // self.batch_size

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """This rank's rows of batch `start`, `start + 1`, and so on for ever: a tensor for one input, a mapping for several."""
        for i, rows in enumerate(self._stored(start), start):
            yield _batch(
                self.dataset, rows, self.device, self.dtype, self.microbatches, self.seed, "data", i
            )

    def _stored(self, start: int) -> Iterator[Rows]:
        source = _Rows(self.columns, self.group_of)
        if self.resident:
            return map(source.__getitem__, self._indices(start, self.device))
        loader = loading.DataLoader(
            source,
            sampler=self._indices(start, torch.device("cpu")),  # type: ignore[arg-type]
            batch_size=None,  # the sampler yields whole batches
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # or the loader would draw from torch's default generator
        )
        return iter(loader)

    def _indices(self, start: int, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """For each batch from `start` on, the row numbers in each group."""
        return zip(
            *(self._order(number, rows, start, device) for number, rows in self.groups), strict=True
        )

    def _order(self, group: int, rows: int, start: int, device: torch.device) -> Iterator[Tensor]:
        per_epoch = rows // self.batch_size
        now, first = divmod(start, per_epoch)
        for epoch in count(now):
            generator = torch.Generator().manual_seed(seed_for(self.seed, "order", group, epoch))
            order = torch.randperm(rows, generator=generator).to(
                device
            )  # drawn on the CPU: the same order on every device
            for k in range(first, per_epoch):
                batch = order[k * self.batch_size : (k + 1) * self.batch_size]
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
) -> Iterator[Batch]:
    """One pass over a split in its stored order, the last batch as short as it comes; the same on every rank and at every call.

    Unpaired columns are read side by side, as far as the shortest of them goes. Noise that the data set adds is drawn from fixed
    keys, and the caller's random state stays as it was.

    Arguments:
        dataset: where the rows come from.
        inputs: the columns that a model reads.
        batch_size: rows a batch.
        device: where batches go.
        split: `"train"` or `"test"`.
        limit: read at most so many rows.

    Raises:
        DataError: a column, or the split, is missing.

    Example:
        >>> data = Dataset({"x": torch.rand(10, 2)})
        >>> [len(batch) for batch in once(data, ("x",), 4, device=torch.device("cpu"), split="train")]
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
            batch = _batch(dataset, stored, device, None, 1, "once", split, i)
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
    batches = once(dataset, columns, batch_size, device=like.device, split=split, limit=limit)
    for batch in batches:
        if isinstance(batch, Tensor):
            yield _in_dtype(batch, like.dtype)
        else:
            yield {name: _in_dtype(column, like.dtype) for name, column in batch.items()}


def _in_dtype(column: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a column in a floating-point dtype; integers stay integers."""
    return column.to(dtype) if column.is_floating_point() else column


class _Rows(loading.Dataset[Rows]):
    """Batched fetch: row numbers for each group -> stored rows of each column."""

    def __init__(self, columns: Rows, group_of: Mapping[str, int]) -> None:
        self.columns, self.group_of = columns, group_of

    def __getitem__(self, indices: tuple[Tensor, ...]) -> Rows:
        return {
            name: column.index_select(0, indices[self.group_of[name]])
            for name, column in self.columns.items()
        }


def _batch(
    dataset: Dataset,
    stored: Rows,
    device: torch.device,
    dtype: torch.dtype | None,
    microbatches: int,
    *key: object,
) -> Batch:
    """Stored rows -> what a model sees; `key` seeds the noise, where there is any."""
    noisy = dataset.dequantize or dataset.binarize == "stochastic"
    with draws(device, *key, part=None, parts=microbatches) if noisy else nullcontext():
        batch = {
            name: dataset.prepare(rows.to(device, non_blocking=True), dtype)
            for name, rows in stored.items()
        }
    return batch if len(batch) > 1 else next(iter(batch.values()))


def _columns(dataset: Dataset, inputs: Sequence[str], split: str) -> dict[str, Tensor]:
    columns = dataset.split(split)
    for name in inputs:
        if name not in columns:
            raise DataError(
                f"{dataset.name}, {split} has no column {name!r}, one of {tuple(inputs)} that are to be read; "
                f"it has {', '.join(columns)}."
            )
    return {
        name: as_tensor(columns[name], f"{dataset.name}, {split}, column {name!r}")
        for name in inputs
    }


def _fits(columns: Rows, device: torch.device) -> bool:
    """Whether columns fit into half of the device's free memory."""
    if (
        device.type == "cpu"
    ):  # there they are in memory already, or mapped, and then the system pages them in and out
        return True
    left = memory.free_memory(device)
    return (
        left is None
        or sum(column.numel() * column.element_size() for column in columns.values()) <= left / 2
    )
