"""Files of records, read record by record: JSONL, plain or compressed by zstd, and CSV.

What must stay true: a file gives the same records here and to the command ``vermilion import``; what is
wrong is told with the line, and with the number of the record from 0 on.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from vermilion.errors import InvalidArgumentError

#: What the names of files with a JSON object in each line end in.
LINES = (".jsonl", ".ndjson", ".json")
_PACKED = tuple(f"{ending}.zst" for ending in LINES)
#: What else names of files end in.
CSV, PARQUET = ".csv", ".parquet"
#: The names of all, for messages.
NAMES = ".parquet, .jsonl, .ndjson, .json, .jsonl.zst and .csv"

#: What records have, in files and in tables, also in the plural.
MEMBERS = ("id", "embedding", "document", "metadata", "uri")
_PLURALS = {f"{name}s": name for name in MEMBERS}

_HALVES = "embedding_f16"
#: Of each member of a line: the kinds of values that it may have, and their names.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "id": ((str, int, float), "a text or a number"),
    "embedding": ((list, str), "a list of numbers, or base64 of little-endian floats,"),
    _HALVES: ((str,), "base64 of little-endian floats"),
    "document": ((str,), "a text"),
    "metadata": ((dict,), "an object"),
    "uri": ((str,), "a text"),
}
#: What numbers and truth values of JSON begin with, after spaces.
_BEGINNINGS = frozenset("-0123456789tf \t\r\n")


class Wrong(ValueError):
    """What is wrong with a line; whoever reads the file knows which."""


def member_named(name: Any) -> Any:
    """The one of :data:`MEMBERS` that a name in the singular or the plural stands for; otherwise the name."""
    return _PLURALS.get(name, name)


def records(path: str) -> Iterator[dict[str, Any]] | None:
    """The records of a file, each a dictionary; None where its name is not that of such a file."""
    name = path.lower()
    if name.endswith(LINES):
        return _read(path, open(path, encoding="utf-8-sig", newline="\n"))
    if name.endswith(_PACKED):
        return _read(path, _unpacked(path))
    if name.endswith(CSV):
        return _of_csv(path)
    return None


def _unpacked(path: str) -> Any:
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise InvalidArgumentError(
            "Files compressed by zstd need pyarrow, which is not installed: pip install 'vermilion[arrow]'"
        ) from error
    return io.TextIOWrapper(arrow.input_stream(path, compression="zstd"), encoding="utf-8-sig", newline="\n")


def _read(path: str, lines: Any) -> Iterator[dict[str, Any]]:
    """A record of each line that is not blank."""
    row, record_of = 0, _Line()
    with lines:
        for number, line in _numbered(path, lines):
            if line.strip():
                with _at(path, number, row):
                    record = record_of(line)
                yield record
                row += 1


def _numbered(path: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            yield number, line
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is no UTF-8 after line {number}: {error}") from error


@contextlib.contextmanager
def _at(path: str, line: int, row: int | None) -> Iterator[None]:
    """Says of what is wrong where it is."""
    try:
        yield
    except Wrong as wrong:
        error = InvalidArgumentError(f"Line {line} of {path} {wrong}")
        error.row = row
        raise error from wrong


def _whole(text: str) -> float:
    # As a float the sign stays, and so the command has it.
    return int(text) if text != "-0" else -0.0


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON; a value that is missing is null")


#: Reads JSON as the command does.
decode = json.JSONDecoder(parse_int=_whole, parse_constant=_no_number).decode


class _Line:
    """Makes a record of a line of JSON; called by one thread at a time."""

    def __init__(self) -> None:
        #: The members of the object that was read last, which is the outermost one at the end.
        self._members: list[tuple[str, Any]] = []
        self._decode = json.JSONDecoder(
            parse_int=_whole, parse_constant=_no_number, object_pairs_hook=self._object
        ).decode

    def _object(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        self._members = members
        return dict(members)

    def __call__(self, line: str) -> dict[str, Any]:
        try:
            record = self._decode(line)
        except json.JSONDecodeError as error:
            # Of the place only the character says something: the text is one line.
            raise Wrong(f"is no JSON: {error.msg} at character {error.pos + 1}") from error
        except (ValueError, RecursionError) as error:
            raise Wrong(f"is no JSON: {error}") from error
        if not isinstance(record, dict):
            raise Wrong("is no JSON object")
        record = self._checked()
        vector, halves = record.get("embedding"), record.pop(_HALVES, None)
        if vector is not None and halves is not None:
            raise Wrong(f"has an embedding and an {_HALVES}; a record has one of them")
        if isinstance(vector, str):
            record["embedding"] = _decoded(vector, "<f4")
        elif halves is not None:
            record["embedding"] = _decoded(halves, "<f2")
        return record

    def _checked(self) -> dict[str, Any]:
        """The record with its members in the singular; refused where one comes twice or is of a wrong kind."""
        named: dict[str, Any] = {}
        for name, value in self._members:
            member = member_named(name)
            if member in _KINDS:
                if member in named:
                    raise Wrong(f"has two members for {member}; a record has one of them")
                kinds, allowed = _KINDS[member]
                if value is not None and type(value) not in kinds:
                    raise Wrong(f"has a value of the type {type(value).__name__} as {member}; {allowed} is allowed")
            named[member] = value
        return named


def _decoded(text: Any, kind: str) -> Any:
    """The vector in a base64 text of little-endian floats."""
    import numpy as np

    try:
        block = base64.b64decode(text, validate=True)
        return np.frombuffer(block, kind).astype(np.float32)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Wrong(f"has an embedding that is no base64 of little-endian floats: {error}") from error


def _of_csv(path: str) -> Iterator[dict[str, Any]]:
    """The records of a file in CSV (RFC 4180), whose first row names the columns."""
    columns: list[str] | None = None
    row = 0
    with open(path, encoding="utf-8-sig", newline="\n") as lines:
        for number, text in _rows(path, lines):
            with _at(path, number, None if columns is None else row):
                cells = _cells(text)
                if columns is None:
                    columns = _columns(cells)
                    continue
                record = _of_cells(columns, cells)
            yield record
            row += 1
    if columns is None:
        raise InvalidArgumentError(f"{path} has no row that names its columns")


def _rows(path: str, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The rows that are not blank, with the line on which each begins: quotes may hold line breaks."""
    parts: list[str] = []
    begun, is_open = 1, False
    for number, line in _numbered(path, lines):
        if not parts:
            if not line.strip():
                continue
            begun = number
        parts.append(line)
        is_open ^= line.count('"') % 2 == 1
        if not is_open:
            yield begun, "".join(parts).removesuffix("\n").removesuffix("\r")
            parts = []
    if is_open:
        raise InvalidArgumentError(f"Line {begun} of {path} has a quote that is not closed")


def _columns(names: list[str]) -> list[str]:
    members = [member_named(name) for name in names]
    for name, member in zip(names, members):
        if not name or members.count(member) > 1:
            raise Wrong(f"names a column {name!r}; each column has a name of its own")
    return names


def _of_cells(columns: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise Wrong(f"has {len(cells)} cells, and there are {len(columns)} columns")
    record: dict[str, Any] = {}
    for name, cell in zip(columns, cells):
        if not cell:
            continue
        member = member_named(name)
        if member == "embedding":
            record[name] = _json(cell, list, "an embedding that is no list of numbers")
        elif member == "metadata":
            record[name] = _json(cell, dict, "metadata that is no JSON object")
        elif member in MEMBERS:
            record[name] = cell
        else:
            record[name] = _value(cell)
    return record


def _json(cell: str, kind: type, problem: str) -> Any:
    try:
        value = decode(cell)
    except ValueError as error:
        raise Wrong(f"has {problem}") from error
    if not isinstance(value, kind):
        raise Wrong(f"has {problem}")
    return value


def _value(cell: str) -> Any:
    """A number or a truth value as JSON writes them; everything else is a text."""
    if cell[0] not in _BEGINNINGS:
        return cell
    try:
        value = decode(cell)
    except ValueError:
        return cell
    is_number = isinstance(value, (int, float)) and math.isfinite(value)
    return value if is_number else cell


def _cells(row: str) -> list[str]:
    """The cells of a row: between commas, or between quotes, where a quote is written twice."""
    if '"' not in row:
        return row.split(",")
    cells, at = [], 0
    while True:
        if row.startswith('"', at):
            cell, at = _quoted(row, at + 1)
        else:
            end = row.find(",", at)
            end = len(row) if end < 0 else end
            cell, at = row[at:end], end
            if '"' in cell:
                raise Wrong("has a quote in a cell that does not begin with one")
        cells.append(cell)
        if at == len(row):
            return cells
        if row[at] != ",":
            raise Wrong("has no comma behind the closing quote of a cell")
        at += 1


def _quoted(row: str, at: int) -> tuple[str, int]:
    """A cell from behind its opening quote on, and where what follows it begins."""
    cell = ""
    while True:
        end = row.find('"', at)
        if end < 0:
            raise Wrong("has a quote that is not closed")
        cell += row[at:end]
        if not row.startswith('"', end + 1):
            return cell, end + 1
        cell += '"'
        at = end + 2
