"""Records poured in and out in bulk: NumPy, Arrow, Parquet, JSONL, pandas, Polars, dictionaries.

What must stay true: a source is read once, in order, never whole unless it came so; while one batch is
written the next is prepared; what a call says was written is durable; and a call that was cut off can be
made again: records are written as upserts, and ``resume`` passes over what an earlier call has done.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import numbers
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from vermilion import files
from vermilion.errors import ChromaError, FileThereError, InvalidArgumentError, at_record
from vermilion.files import MEMBERS, member_named
from vermilion.records import encode

if TYPE_CHECKING:
    from vermilion.collection import Collection

_EVERY_SECONDS = 0.2
_NEVER_MISSING = frozenset({str, int, bool, list, dict})


class Report(NamedTuple):
    """What a call of ``ingest`` or ``export`` did."""

    #: Records written by this call.
    records: int
    #: Records passed over, since an earlier call had written them.
    skipped: int
    #: How long it took.
    seconds: float

    @property
    def records_per_second(self) -> float:
        """How fast it was."""
        return self.records / self.seconds if self.seconds else 0.0


class Batch(NamedTuple):
    """Some records in columns; what none of them has is None."""

    ids: list[str]
    embeddings: Any
    documents: list[str | None] | None
    metadatas: list[dict[str, Any] | None] | None
    uris: list[str | None] | None


def ingest(
    collection: Collection,
    source: Any,
    batch_size: int = 10_000,
    progress: bool | Callable[[int], None] = False,
    resume: str | os.PathLike[str] | None = None,
    ids: Iterable[str] | None = None,
) -> Report:
    """See :meth:`vermilion.Collection.ingest`."""
    limit = collection._transport.max_batch_size()
    if not 1 <= batch_size <= limit:
        raise InvalidArgumentError(f"batch_size is {batch_size}; from 1 to {limit} are allowed")
    done = _done_before(resume, collection)
    shown = _Progress(progress)
    begun = time.perf_counter()
    written = passed = 0
    write = _Writer(collection)
    # One batch is written, one waits, one is being prepared.
    with ThreadPoolExecutor(1, thread_name_prefix="vermilion-ingest") as writer:
        running: list[tuple[Future[None], int]] = []
        try:
            for batch in batches(source, batch_size, ids):
                rows, start = len(batch.ids), passed + write.submitted
                if passed + rows <= done:
                    passed += rows
                    continue
                if passed < done:
                    batch = _rows(batch, done - passed)
                    passed = start = done
                    rows = len(batch.ids)
                write.submitted += rows
                running.append((writer.submit(write, batch, start), rows))
                while len(running) > 1:
                    written += _finish(running, resume, collection, done + written, shown)
            while running:
                written += _finish(running, resume, collection, done + written, shown)
        except Exception as error:
            # What came before it is written, so that it does not depend on the moment what is there.
            with contextlib.suppress(Exception):
                while running:
                    written += _finish(running, resume, collection, done + written, shown)
            error.add_note(f"The first {done + written:,} records of the source are written.")
            raise
        finally:
            for future, _ in running:
                future.cancel()
            shown.end()
    if resume is not None and os.path.exists(resume):
        os.remove(resume)
    return Report(written, passed, time.perf_counter() - begun)


class _Writer:
    """Writes batches one after the other; none after one that failed."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._failed = False
        #: Records of the batches that were handed to it.
        self.submitted = 0

    def __call__(self, batch: Batch, start: int) -> None:
        """Writes a batch whose first record is number ``start`` of the source."""
        if self._failed:
            raise _Stopped
        columns = batch.ids, batch.embeddings, batch.metadatas, batch.documents, None, batch.uris
        try:
            with _counted_from(start):
                self._collection._write("upsert", *columns, True)
        except BaseException:
            self._failed = True
            raise


class _Stopped(Exception):
    """A batch before this one failed."""


@contextlib.contextmanager
def _counted_from(start: int) -> Iterator[None]:
    """Counts the record at fault in an error from the beginning of the source on."""
    try:
        yield
    except ChromaError as error:
        if error.row is not None:
            error.row += start
        raise


def _at(row: int, message: str, field: str | None = None) -> InvalidArgumentError:
    """The error that a record is at fault."""
    return at_record(InvalidArgumentError(message), row, field)


def _finish(
    running: list[tuple[Future[None], int]],
    resume: Any,
    collection: Collection,
    before: int,
    shown: _Progress,
) -> int:
    """Waits for the oldest batch; notes it where the next call is to find it."""
    future, rows = running.pop(0)
    future.result()
    if resume is not None:
        note = {"collection": str(collection.id), "records": before + rows}
        beside = f"{os.fspath(resume)}.new"
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(note, file)
        os.replace(beside, resume)
    shown.add(rows)
    return rows


def _done_before(resume: Any, collection: Collection) -> int:
    if resume is None or not os.path.exists(resume):
        return 0
    with open(resume, encoding="utf-8") as file:
        try:
            note = json.load(file)
            same, count = note["collection"] == str(collection.id), int(note["records"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidArgumentError(
                f"{resume} is no note of an earlier call; remove it or name another file"
            ) from error
    if not same:
        raise InvalidArgumentError(
            f"{resume} is the note of a call for another collection ({note['collection']}); remove it or "
            f"name another file"
        )
    return count


def _rows(batch: Batch, start: int) -> Batch:
    parts: list[Any] = [None if column is None else column[start:] for column in batch]
    return Batch(*parts)


class _Progress:
    """Shows on standard error how far a call is, or tells a function."""

    def __init__(self, wanted: bool | Callable[[int], None]) -> None:
        self._tell = wanted if callable(wanted) else None
        self._shows = wanted is True
        self._records, self._begun, self._last = 0, time.perf_counter(), 0.0
        self._bar: Any = None
        if self._shows:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            self._bar = tqdm(unit=" records", unit_scale=True)

    def add(self, rows: int) -> None:
        self._records += rows
        if self._tell is not None:
            self._tell(self._records)
        elif self._bar is not None:
            self._bar.update(rows)
        elif self._shows and time.perf_counter() - self._last > _EVERY_SECONDS:
            self._last = time.perf_counter()
            self._line("\r")

    def _line(self, end: str) -> None:
        speed = self._records / max(time.perf_counter() - self._begun, 1e-9)
        print(f"{self._records:,} records, {speed:,.0f}/s", end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._shows:
            self._line("\n")


def batches(source: Any, size: int, ids: Iterable[str] | None = None) -> Iterator[Batch]:
    """The records of ``source``, ``size`` at a time."""
    _check_count(source, ids)
    if isinstance(source, (str, os.PathLike)):
        yield from _of_file(os.fspath(source), size, ids)
    elif _is_of(source, "numpy", "ndarray"):
        yield from _of_array(source, size, ids)
    elif isinstance(source, dict):
        yield from _of_columns(source, size, ids)
    elif _is_of(source, "pandas", "DataFrame"):
        _check_names(source.columns)
        yield from _of_columns({name: source[name] for name in source.columns}, size, ids)
    elif hasattr(source, "__arrow_c_stream__") or _is_of(source, "pyarrow", "RecordBatch"):
        yield from _of_arrow(source, size, ids)
    elif isinstance(source, Iterable):
        yield from _of_records(source, size, ids)
    else:
        raise InvalidArgumentError(
            f"A {type(source).__name__} cannot be ingested: the path of a file of records, an array, "
            f"a dictionary of columns, a table of Arrow, pandas or Polars, or dictionaries one after the "
            f"other can"
        )


def _is_of(source: Any, package: str, name: str) -> bool:
    """Whether ``source`` is of a class of a package, which need not be there."""
    kinds = type(source).__mro__
    return any(one.__name__ == name and one.__module__.split(".")[0] == package for one in kinds)


def _check_count(source: Any, ids: Any) -> None:
    """Refuses more or fewer ids than records, where both numbers are known before anything is written."""
    if ids is None or isinstance(source, (str, os.PathLike, dict)):
        return
    if not hasattr(ids, "__len__") or not hasattr(source, "__len__"):
        return
    if len(ids) != len(source):
        compared = "fewer" if len(ids) < len(source) else "more"
        raise InvalidArgumentError(
            f"There are {compared} ids than records: {len(ids)} ids, {len(source)} records"
        )


def _of_file(path: str, size: int, ids: Any) -> Iterator[Batch]:
    if path.lower().endswith(files.PARQUET):
        yield from _of_parquet(path, size, ids)
        return
    found = files.records(path)
    if found is None:
        raise InvalidArgumentError(f"{path} is no file of records: {files.NAMES} are")
    yield from _of_records(found, size, ids)


def _of_parquet(path: str, size: int, ids: Any) -> Iterator[Batch]:
    parquet = _needed("pyarrow.parquet", "Parquet files", "arrow")
    arrow = _needed("pyarrow", "Parquet files", "arrow")
    named = None if ids is None else iter(ids)
    start = 0
    with open(path, "rb") as opened:
        try:
            with parquet.ParquetFile(opened) as file:
                for part in file.iter_batches(size):
                    yield from _of_arrow(part, size, named, start)
                    start += len(part)
        except (arrow.ArrowException, OSError) as error:
            raise InvalidArgumentError(f"{path} cannot be read: {error}") from error


def _needed(module: str, what: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise InvalidArgumentError(
            f"{what} need {package}, which is not installed: pip install 'vermilion[{extra}]'"
        ) from error


def _of_array(block: Any, size: int, ids: Any) -> Iterator[Batch]:
    if block.ndim != 2:
        raise InvalidArgumentError(
            f"An array of vectors has the shape (records, dimension), got {block.shape}"
        )
    named = iter(ids) if ids is not None else map(str, itertools.count())
    for start in range(0, len(block), size):
        part = block[start : start + size]
        with _counted_from(start):
            taken = _take(named, len(part))
        yield Batch(taken, part, None, None, None)
    if ids is not None and next(named, None) is not None:
        raise InvalidArgumentError(f"There are more ids than vectors, of which there are {len(block)}")


def _take(named: Iterator[Any], rows: int) -> list[str]:
    taken = list(itertools.islice(named, rows))
    if len(taken) < rows:
        raise InvalidArgumentError("There are fewer ids than records")
    return _ids(taken)


def _ids(column: Any) -> list[str]:
    """Ids as texts; numbers, which rows of tables often have, become such."""
    if set(map(type, column)) <= {str}:
        return list(column)
    for row, one in enumerate(column):
        if _is_missing(one):
            raise _at(row, "A record has no id", "id")
        if not isinstance(one, (str, numbers.Real)) or isinstance(one, bool):
            raise _at(row, f"The id of a record is a text or a number, got {one!r}", "id")
    return [str(one) for one in column]


def _texts(column: Any, name: str) -> list[str | None] | None:
    """Documents or uris: texts, or None for whatever is no value at all."""
    if column is None:
        return None
    if set(map(type, column)) <= {str, type(None)}:
        return list(column)
    texts: list[str | None] = []
    for row, one in enumerate(column):
        if not isinstance(one, str):
            if not _is_missing(one):
                raise _at(row, f"The {name} of a record is a text or None, got {one!r}", name)
            one = None
        texts.append(one)
    return texts


def _of_columns(columns: dict[str, Any], size: int, ids: Any) -> Iterator[Batch]:
    """Columns by name; those that have another name than ours are metadata under it."""
    _check_names(columns)
    named = {member_named(name): column for name, column in columns.items()}
    if ids is not None:
        named["id"] = ids if hasattr(ids, "__len__") else list(ids)
    rows = _length(named)
    for start in range(0, rows, size):
        part = {name: _plain(column[start : start + size]) for name, column in named.items()}
        with _counted_from(start):
            batch = _batch(part, min(size, rows - start))
        yield batch


def _check_names(names: Iterable[Any], row: int | None = None) -> None:
    """Refuses two columns of one name, and ``id`` beside ``ids``: it is not known which counts."""
    seen: dict[Any, Any] = {}
    for name in names:
        member = member_named(name)
        if member in seen:
            message = f"There are two columns for {member}: {seen[member]} and {name}; leave one out"
            raise at_record(InvalidArgumentError(message), row, member)
        seen[member] = name


def _length(columns: dict[str, Any]) -> int:
    lengths = {name: len(column) for name, column in columns.items()}
    if "id" not in lengths or "embedding" not in lengths and "document" not in lengths:
        raise InvalidArgumentError(
            f"Records need an id, and an embedding or a document; there are {', '.join(lengths)}"
        )
    if len(set(lengths.values())) > 1:
        raise InvalidArgumentError(f"The columns have different lengths: {lengths}")
    return lengths["id"]


def _plain(column: Any) -> Any:
    """A list of a column of pandas; arrays of vectors stay what they are."""
    if getattr(column, "ndim", 1) > 1 or isinstance(column, list):
        return column
    return column.tolist() if hasattr(column, "tolist") else list(column)


def _batch(columns: dict[str, Any], rows: int) -> Batch:
    """A batch of columns of plain values; whatever is no value at all becomes None."""
    metadata = columns.get("metadata")
    others = {name: column for name, column in columns.items() if name not in MEMBERS}
    metadatas: list[dict[str, Any] | None] | None = None
    if metadata is not None or others:
        given = metadata if metadata is not None else [None] * rows
        metadatas = [_as_dict(row, one) for row, one in enumerate(given)]
        for name, column in others.items():
            for members, value in zip(metadatas, column):
                if not _is_missing(value):
                    members[name] = value  # type: ignore[index]
        metadatas = [members or None for members in metadatas]
    documents, uris = (_texts(columns.get(name), name) for name in ("document", "uri"))
    return Batch(_ids(columns["id"]), columns.get("embedding"), documents, metadatas, uris)


def _as_dict(row: int, value: Any) -> dict[str, Any]:
    """The metadata of a record: a dictionary, the pairs of a map of Arrow, or JSON text of an object."""
    given = value
    if isinstance(value, str):
        try:
            value = files.decode(value) if value else None
        except ValueError as error:
            raise _at(row, f"The metadata of a record is no JSON: {error}", "metadata") from error
    elif isinstance(value, list) and all(type(one) is tuple for one in value):
        value = dict(value)
    if _is_missing(value):
        return {}
    if not isinstance(value, Mapping):
        raise _at(
            row, f"The metadata of a record is a dictionary or JSON text of one, got {given!r}", "metadata"
        )
    return {key: one for key, one in value.items() if not _is_missing(one)}


def _is_missing(value: Any) -> bool:
    """Whether a value of a table stands for none: None, NaN of any kind, and NA and NaT of pandas."""
    kind = type(value)
    if kind in _NEVER_MISSING or hasattr(value, "__len__"):
        return False
    if value is None or kind.__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return False


def _of_records(source: Iterable[Any], size: int, ids: Any) -> Iterator[Batch]:
    """Dictionaries one after the other, each a record."""
    named = iter(ids) if ids is not None else None
    remaining, start = iter(source), 0
    while part := list(itertools.islice(remaining, size)):
        with _counted_from(start):
            batch = _named(_columns_of(part), named, len(part))
        yield batch
        start += len(part)


def _named(columns: dict[str, Any], ids: Iterator[str] | None, rows: int) -> Batch:
    """The records in columns, under the next of ``ids`` where there are some."""
    if ids is not None:
        columns["id"] = _take(ids, rows)
    _length(columns)
    return _batch(columns, rows)


def _columns_of(part: list[Any]) -> dict[str, list[Any]]:
    """Records in columns; one that no record has a value in is left out where vectors are to be made."""
    for row, one in enumerate(part):
        if not isinstance(one, dict):
            raise _at(row, f"A record is a dictionary with {', '.join(MEMBERS)}; got a {type(one).__name__}")
    # Most records have the same members: those of all, in the order in which they come.
    names = dict.fromkeys(member_named(name) for one in part for name in one)
    columns: dict[str, list[Any]] = {name: [None] * len(part) for name in names}
    for row, one in enumerate(part):
        members = {member_named(name): value for name, value in one.items()}
        if len(members) < len(one):
            _check_names(one, row)
        for name, value in members.items():
            columns[name][row] = value
    if all(one is None for one in columns.get("embedding", ())):
        columns.pop("embedding", None)
    for name in ("id", "embedding"):
        for row, one in enumerate(columns.get(name, ())):
            if one is None:
                raise _at(row, f"A record has no {name}, others have")
    return columns


def _of_arrow(source: Any, size: int, ids: Any, begun: int = 0) -> Iterator[Batch]:
    """Tables of Arrow and of whatever hands them over, such as Polars; vectors are not copied. The first
    record is number ``begun`` of the source."""
    arrow = _needed("pyarrow", "Tables of Arrow", "arrow")
    if isinstance(source, arrow.RecordBatch):
        source = arrow.Table.from_batches([source])
    reader = arrow.RecordBatchReader.from_stream(source)
    _check_names(reader.schema.names)
    named = iter(ids) if ids is not None else None
    for whole in reader:
        for start in range(0, len(whole), size):
            part = whole.slice(start, size)
            with _counted_from(begun):
                columns = {}
                for name, column in zip(part.schema.names, part.columns):
                    name = member_named(name)
                    is_vector = name == "embedding"
                    columns[name] = _vectors(arrow, column) if is_vector else column.to_pylist()
                batch = _named(columns, named, len(part))
            yield batch
            begun += len(part)


def _vectors(arrow: Any, column: Any) -> Any:
    """The block of a column of lists, which all have the same length."""
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise _at(row, "The column of embeddings has nulls; each record needs a vector", "embedding")
    values, lengths = column.flatten(), column.value_lengths().to_numpy()
    others = (lengths != lengths[0]).nonzero()[0]
    if len(others):
        row = int(others[0])
        raise _at(
            row,
            f"The vectors in the column of embeddings differ in length: got a vector with the dimension {lengths[row]} "
            f"beside one of {lengths[0]}",
            "embedding",
        )
    if values.null_count:
        place = values.is_null().index(True).as_py()
        raise _at(place // int(lengths[0]), "A vector in the column of embeddings has a null", "embedding")
    return values.to_numpy(zero_copy_only=False).reshape(len(column), int(lengths[0]))


def export(
    collection: Collection,
    path: str | os.PathLike[str],
    batch_size: int = 10_000,
    where: Any = None,
    where_document: Any = None,
    progress: bool | Callable[[int], None] = False,
    overwrite: bool = False,
) -> Report:
    """See :meth:`vermilion.Collection.export`."""
    place = os.fspath(path)
    if not place.endswith((".parquet", ".jsonl", ".ndjson")):
        raise InvalidArgumentError(f"{place} is no file of records: .parquet, .jsonl and .ndjson are")
    if os.path.exists(place) and not overwrite:
        raise FileThereError(f"{place} is there already; overwrite=True replaces it")
    shown, begun = _Progress(progress), time.perf_counter()
    write = _write_parquet if place.endswith(".parquet") else _write_lines
    # Under its own name only when it is whole.
    beside = f"{place}.new"
    try:
        rows = write(beside, pages(collection, batch_size, where, where_document), shown)
        os.replace(beside, place)
    finally:
        shown.end()
        if os.path.exists(beside):
            os.remove(beside)
    return Report(rows, 0, time.perf_counter() - begun)


def pages(
    collection: Collection, size: int, where: Any = None, where_document: Any = None
) -> Iterator[dict[str, Any]]:
    """The records, ``size`` at a time, as ``get`` answers them: each that is there all the time once."""
    if size < 1:
        raise InvalidArgumentError(f"batch_size is {size}; it must be 1 or more")
    ids = collection.get(where=where, where_document=where_document, include=[])["ids"]
    columns = ["embeddings", "documents", "metadatas", "uris"]
    for start in range(0, len(ids), size):
        found = collection.get(ids=ids[start : start + size], include=columns)  # type: ignore[arg-type]
        if found["ids"]:
            yield found  # type: ignore[misc]


def _write_lines(path: str, parts: Iterator[dict[str, Any]], shown: _Progress) -> int:
    rows = 0
    with open(path, "w", encoding="utf-8") as file:
        for part in parts:
            for row, one in enumerate(part["ids"]):
                record = {"id": one, "embedding": part["embeddings"][row].tolist()}
                for name in ("document", "metadata", "uri"):
                    value = part[f"{name}s"][row]
                    if value is not None:
                        record[name] = value
                file.write(encode(record) + "\n")
            rows += len(part["ids"])
            shown.add(len(part["ids"]))
    return rows


def _write_parquet(path: str, parts: Iterator[dict[str, Any]], shown: _Progress) -> int:
    parquet = _needed("pyarrow.parquet", "Parquet files", "arrow")
    rows, writer = 0, None
    try:
        for part in parts:
            table = _table_of(part)
            writer = writer or parquet.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            rows += len(part["ids"])
            shown.add(len(part["ids"]))
        if writer is None:
            parquet.write_table(_table_of(_nothing()), path)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _nothing() -> dict[str, Any]:
    import numpy as np

    block = np.zeros((0, 0), np.float32)
    return {"ids": [], "embeddings": block, "documents": [], "metadatas": [], "uris": []}


def to_arrow(collection: Collection, batch_size: int = 10_000, where: Any = None) -> Any:
    """See :meth:`vermilion.Collection.to_arrow`."""
    arrow = _needed("pyarrow", "Tables of Arrow", "arrow")
    tables = [_table_of(part) for part in pages(collection, batch_size, where)]
    return arrow.concat_tables(tables) if tables else _table_of(_nothing())


def _table_of(part: dict[str, Any]) -> Any:
    """Some records as a table, as the command ``vermilion export`` writes it; vectors are not copied."""
    arrow = _needed("pyarrow", "Tables of Arrow", "arrow")
    rows, dimension = part["embeddings"].shape
    values = arrow.array(part["embeddings"].reshape(-1))
    offsets = arrow.array(range(0, rows * dimension + 1, max(dimension, 1)), arrow.int32())
    if rows == 0:
        offsets = arrow.array([0], arrow.int32())
    kind = arrow.list_(arrow.float32())
    metadatas = [None if one is None else encode(one) for one in part["metadatas"]]
    texts = {"document": part["documents"], "metadata": metadatas, "uri": part["uris"]}
    columns = {
        "id": arrow.array(part["ids"], arrow.string()),
        "embedding": arrow.ListArray.from_arrays(offsets, values, type=kind),
        **{name: arrow.array(column, arrow.string()) for name, column in texts.items()},
    }
    return arrow.table(columns)


def to_pandas(collection: Collection, batch_size: int = 10_000, where: Any = None) -> Any:
    """See :meth:`vermilion.Collection.to_pandas`."""
    pandas = _needed("pandas", "DataFrames of pandas", "pandas")
    columns: dict[str, list[Any]] = {name: [] for name in MEMBERS}
    for part in pages(collection, batch_size, where):
        for name in MEMBERS:
            columns[name].extend(part[f"{name}s"])
    return pandas.DataFrame(columns)


def to_polars(collection: Collection, batch_size: int = 10_000, where: Any = None) -> Any:
    """See :meth:`vermilion.Collection.to_polars`."""
    polars = _needed("polars", "DataFrames of Polars", "polars")
    return polars.from_arrow(to_arrow(collection, batch_size, where))
