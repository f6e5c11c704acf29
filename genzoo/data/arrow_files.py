"""Tables in Arrow and Parquet files, read by rows from memory maps."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.data.cache import atomic_data, home, locked, remove_temporary, short_digest
from genzoo.data.image_reader import EncodedImage
from genzoo.errors import DataError, GenzooError
from genzoo.progress import track

__all__ = ["ArrowImages", "ArrowNumbers", "Table", "require_pyarrow"]


def require_pyarrow() -> Any:
    """Return the package pyarrow.

    Raises:
        GenzooError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise GenzooError(
            "Arrow and Parquet files need pyarrow; install it with: pip install 'genzoo[arrow]'."
        ) from None
    return pyarrow


class Table:
    """The rows of files, one after another. The files are memory-mapped in each process.

    Arguments:
        files: Arrow files or streams, such as those of Hugging Face's `save_to_disk`, or Parquet
            files, which are converted to Arrow files in the data folder.

    Raises:
        DataError: a file cannot be read, or the files have different columns.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.sources = tuple(files)
        self.files = [_converted(file) if file.suffix == ".parquet" else file for file in files]
        self._batches: list[Any] | None = None
        tables = [_open(file) for file in self.files]
        self.schema = tables[0].schema
        for file, table in zip(files, tables, strict=True):
            if not table.schema.equals(self.schema):
                raise DataError(
                    f"arrow: {file} has the columns {', '.join(table.schema.names)}, and "
                    f"{files[0]} has {', '.join(self.schema.names)}, of other types; write both "
                    "with one schema."
                )
        counts = [table.num_rows for table in tables]
        self.file_of = np.repeat(np.arange(len(counts)), counts)
        sizes = [batch.num_rows for table in tables for batch in table.to_batches()]
        self.begins = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_batches": None}

    def __len__(self) -> int:
        return int(self.begins[-1])

    def batch(self, number: int) -> Any:
        """Return a record batch."""
        if self._batches is None:
            self._batches = [batch for file in self.files for batch in _open(file).to_batches()]
        return self._batches[number]

    def name_of(self, row: int) -> str:
        """Return the name of a row for messages: its number in its file, from 0 on."""
        file = int(self.file_of[row])
        return f"row {row - int(np.searchsorted(self.file_of, file))} of {self.sources[file]}"

    def value(self, row: int, column: str) -> Any:
        """Return one value as a Python object."""
        number = int(np.searchsorted(self.begins, row, side="right")) - 1
        return self.batch(number).column(column)[row - int(self.begins[number])].as_py()

    def take(self, rows: Any, column: str) -> Any:
        """Return the values of increasing rows as an Arrow array."""
        pyarrow = require_pyarrow()
        number_of = np.searchsorted(self.begins, rows, side="right") - 1
        parts = [
            self.batch(int(number))
            .column(column)
            .take(pyarrow.array(rows[number_of == number] - self.begins[number]))
            for number in np.unique(number_of)
        ]
        return pyarrow.concat_arrays(parts) if parts else pyarrow.array([], self.type_of(column))

    def type_of(self, column: str) -> Any:
        """Return the type of a column."""
        return self.schema.field(column).type

    def bytes_per_row(self) -> float:
        """Return the mean number of bytes of a row on disk."""
        return sum(file.stat().st_size for file in self.files) / max(1, len(self))

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """Return the names of classes that Hugging Face's metadata give a column, or None."""
        with suppress(KeyError, TypeError, ValueError):
            features = json.loads(self.schema.metadata[b"huggingface"])["info"]["features"]
            return tuple(features[column]["names"])
        return None


class ArrowImages:
    """Encoded images in a column of binary values, or of Hugging Face's images.

    Arguments:
        table: the table.
        column: the column.
    """

    def __init__(self, table: Table, column: str) -> None:
        self.table, self.column = table, column

    def __len__(self) -> int:
        return len(self.table)

    def mean_size(self) -> float:
        """Return the mean number of bytes of an image, with the other values of its row."""
        return self.table.bytes_per_row()

    def image(self, row: int) -> EncodedImage:
        """Return the content of an image.

        Raises:
            DataError: the row has none.
        """
        name = self.table.name_of(row)
        value = self.table.value(row, self.column)
        if isinstance(value, dict):
            path, value = value.get("path"), value.get("bytes")
            if value is None and path and Path(path).is_file():
                value = Path(path).read_bytes()
        if value is None:
            raise DataError(f"arrow: {name} has no image in column {self.column!r}.")
        return EncodedImage(value, name)

    def digests(self) -> Any:
        """Return a hash of each image, uint64 `(N,)`, from the data folder if it is there."""
        facts = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in self.table.files]
        key = hashlib.blake2b(repr((facts, self.column)).encode(), digest_size=16).hexdigest()
        path = home() / "arrow" / f"{key}.npy"
        with suppress(OSError, ValueError, EOFError):
            known = np.load(path)
            if known.shape == (len(self),):
                return known
        digests = np.empty(len(self), np.uint64)
        for row in track(range(len(self)), f"reading {len(self):,} images", total=len(self)):
            content = self.image(row).getvalue()
            digests[row] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
        with atomic_data(path) as temporary, temporary.open("wb") as file:
            np.save(file, digests)
        return digests


class ArrowNumbers:
    """Numeric columns of a table, as a column of rows float32 `(N, D)`.

    Arguments:
        table: the table.
        columns: the columns: numbers, or lists of numbers of equal length.

    Raises:
        DataError: a column has values of another type.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.table, self.columns = table, tuple(columns)
        self.widths = {name: self._width(name) for name in columns}
        self.shape, self.dtype = (len(table), sum(self.widths.values())), np.dtype(np.float32)
        self.block = max(1, round(2**20 / max(1.0, table.bytes_per_row())))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        return self._read(rows)

    def _width(self, name: str) -> int:
        """Return the number of values of a column in each row, from the first row."""
        types, kind = require_pyarrow().types, self.table.type_of(name)
        item = kind.value_type if _is_list(kind) else kind
        if not (types.is_integer(item) or types.is_floating(item) or types.is_boolean(item)):
            raise DataError(
                f"arrow: column {name!r} holds {kind}; expected numbers, or lists of numbers. "
                "Flatten nested lists, or name the columns to use in columns."
            )
        return len(self.table.value(0, name) or ()) if _is_list(kind) else 1

    def _read(self, rows: Any) -> Any:
        return np.concatenate([self._read_column(rows, name) for name in self.columns], axis=1)

    def _read_column(self, rows: Any, name: str) -> Any:
        array, width = self.table.take(rows, name), self.widths[name]
        values = array.flatten() if _is_list(array.type) else array
        if array.null_count or values.null_count:
            raise DataError(
                f"arrow: column {name!r} has missing values; fill them, or name the columns to "
                "use in columns."
            )
        if values is not array:
            from pyarrow import compute

            lengths = compute.list_value_length(array).to_numpy(zero_copy_only=False)
            if (lengths != width).any():
                row = int((lengths != width).argmax())
                raise DataError(
                    f"arrow: column {name!r} has lists of different lengths: the first row has "
                    f"{width} values, and {self.table.name_of(int(rows[row]))} has {lengths[row]}."
                )
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
        return numbers.reshape(len(rows), width)


def _is_list(kind: Any) -> bool:
    types = require_pyarrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _open(file: Path) -> Any:
    """Return the table of an Arrow file or stream, memory-mapped."""
    pyarrow = require_pyarrow()
    try:
        source = pyarrow.memory_map(str(file))
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pyarrow.ipc.open_file(source) if is_file else pyarrow.ipc.open_stream(source)
        return reader.read_all()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"arrow: {file} cannot be read ({str(error).splitlines()[0]}); write it again."
        ) from error


def _converted(file: Path) -> Path:
    """Return the Arrow file in the data folder for a Parquet file."""
    pyarrow = require_pyarrow()
    from pyarrow import parquet

    stat = file.stat()
    stem = f"{file.stem}-{short_digest(str(file.resolve()))}"
    path = home() / "arrow" / f"{stem}-{stat.st_size}-{stat.st_mtime_ns}.arrow"
    if path.exists():
        return path
    with locked(path.with_name(f"{stem}.lock")):
        if path.exists():
            return path
        remove_temporary(path.parent, stem)
        try:
            source = parquet.ParquetFile(file)
            with (
                atomic_data(path) as temporary,
                pyarrow.OSFile(str(temporary), "wb") as sink,
                pyarrow.ipc.new_file(sink, source.schema_arrow) as writer,
            ):
                for batch in source.iter_batches(batch_size=1024):
                    writer.write_batch(batch)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(
                f"arrow: {file} cannot be read as a Parquet file ({str(error).splitlines()[0]})."
            ) from error
        for old in path.parent.glob(f"{glob.escape(stem)}-*.arrow"):
            if old != path:
                old.unlink(missing_ok=True)
    return path
