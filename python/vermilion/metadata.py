"""Metadata of records and of collections, judged as chromadb judges it.

What must stay true: what chromadb refuses although the database would take it is refused here, so that a
program gets the same answer in process and over HTTP, and so is what no record can hold, since here it is
known which record it is; single values are looked at only where a record has one of a kind that can be wrong,
since there are many; those that are as nearly all are were looked at by the native part of the package.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from vermilion.errors import ArgumentTypeError, InvalidArgumentError, at_record

#: A key that chromadb keeps for itself.
RESERVED = "chroma:document"


def check_records(
    column: Iterable[dict[Any, Any] | None], operation: str, is_bulk: bool = False
) -> None:
    """Checks the metadata of records that are written.

    Args:
        column: Dictionaries, or None.
        operation: ``add``, ``update`` or ``upsert``.
        is_bulk: Whether the records come from a file or a table, which chromadb does not read: they may
            have whatever the database can hold.

    Raises:
        InvalidArgumentError: A key or a value is not allowed.
    """
    from vermilion import _engine

    column = list(column)
    keys, has_none, is_plain = _engine.held(column)
    for key in keys:
        _check_key(key, column)
    if operation == "add" and has_none:
        row = next(row for row, one in enumerate(column) if one and type(None) in map(type, one.values()))
        raise _wrong(
            "Expected metadata value to be no None where a record is added: leave the key out", row, ArgumentTypeError
        )
    odd = [] if is_plain else _engine.odd_values(column)
    for row, key, value in odd:
        _check_value(row, key, value)
    if is_bulk:
        return
    _check_reserved(keys, column)
    for row, key, value in odd:
        if isinstance(value, (list, tuple)):
            _check_list(key, value, row)


def not_finite(column: Iterable[dict[str, Any] | None]) -> tuple[int, str] | None:
    """The number of the first record with a value that is NaN or infinite, and its key; None where there is none.

    The database refuses such values by itself: this is asked afterwards, for it takes its time.
    """
    for row, members in enumerate(column):
        for key, value in (members or {}).items():
            if not all(map(_is_finite, value if isinstance(value, (list, tuple)) else [value])):
                return row, key
    return None


def check_collection(given: Any, is_change: bool = False) -> None:
    """Checks the metadata of a collection.

    Args:
        given: The metadata, or None.
        is_change: Whether the collection is there already.

    Raises:
        InvalidArgumentError: It is no dictionary, or a key or a value is not allowed.
    """
    if given is None:
        return
    if not isinstance(given, dict):
        raise ArgumentTypeError(f"Expected metadata to be a dict or None, got {given!r}")
    for key, value in given.items():
        _check_key(key)
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if not _is_finite(one):
                raise InvalidArgumentError(
                    f"Expected metadata value to be a finite number, got {one!r} under the key {key!r}"
                )
        if isinstance(value, (list, tuple)):
            _check_list(key, value)
        elif not (_is_single(value) or is_change and value is None):
            raise ArgumentTypeError(
                f"Expected metadata value to be a str, int, float, bool or list, got {value!r} under the key "
                f"{key!r}"
            )
    if is_change:
        _check_reserved(given)


def _is_single(value: Any) -> bool:
    # Numbers of NumPy and sparse vectors become plain when they are sent.
    return isinstance(value, (str, int, float)) or hasattr(value, "tolist") or hasattr(value, "to_dict")


def _check_value(row: int, key: str, value: Any) -> None:
    """Refuses what no record can hold: other objects than sparse vectors, and such in lists."""
    if isinstance(value, (list, tuple)):
        wrong = next((one for one in value if not _is_storable(one) or _is_nested(one)), None)
    else:
        wrong = None if _is_storable(value) else value
    if wrong is None:
        return
    raise _wrong(
        f"Expected metadata value to be a str, int, float, bool, SparseVector, list of one of the first four, or "
        f"None, got {wrong!r}, of the type {type(wrong).__name__}, under the key {key!r}",
        row,
    )


def _is_storable(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("#type") == "sparse_vector"
    return value is None or isinstance(value, (list, tuple)) or _is_single(value)


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict))


def _is_finite(value: Any) -> bool:
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    return not isinstance(value, float) or math.isfinite(value)


def _check_key(key: Any, column: list[Any] | None = None) -> None:
    # JSON would make a string of it, and what is read would be another key than what was written.
    if not isinstance(key, str):
        raise _wrong(
            f"Expected metadata key to be a str, got {key!r} which is a {type(key).__name__}",
            _first_with(key, column),
            ArgumentTypeError,
        )


def _check_reserved(keys: Any, column: list[Any] | None = None) -> None:
    if RESERVED in keys:
        raise _wrong(
            f"Expected metadata to not contain the reserved key {RESERVED}", _first_with(RESERVED, column)
        )


def _first_with(key: Any, column: list[Any] | None) -> int | None:
    """The first record with ``key``; None where it is not records that are checked."""
    return next((row for row, one in enumerate(column or ()) if one and key in one), None)


def _check_list(key: str, value: list[Any] | tuple[Any, ...], row: int | None = None) -> None:
    if not value:
        raise _wrong(f"Expected metadata list value for key {key!r} to be non-empty", row)
    if len(set(map(type, value))) > 1:
        raise _wrong(
            f"Expected metadata list value for key {key!r} to have elements of the same type, got {value!r}",
            row,
            ArgumentTypeError,
        )


def _wrong(
    message: str, row: int | None, kind: type[InvalidArgumentError] = InvalidArgumentError
) -> InvalidArgumentError:
    """The error that metadata is wrong: that of record ``row``, or of a collection."""
    return at_record(kind(message), row, None if row is None else "metadatas")
