"""What callers give, checked and brought into columns.

What must stay true: every check is made before anything is sent. Of metadata only that is checked here
which chromadb refuses and the database would take (:mod:`vermilion.metadata`); the rest where it is read.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from vermilion.errors import ArgumentRangeError, ArgumentTypeError, DuplicateIDError, InvalidArgumentError
from vermilion.metadata import check_records

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COLUMNS = ("documents", "embeddings", "metadatas", "distances", "uris", "data")
_SHOWN = 5


def as_list(values: Any) -> list[Any] | None:
    """A single value as a list of one; None stays None."""
    if values is None or isinstance(values, list):
        return values
    return list(values) if isinstance(values, (tuple, set)) else [values]


def ids(given: Any, is_bulk: bool = False) -> list[str]:
    """The ids of records: one or more strings, each once; in bulk the last record of an id counts.

    Raises:
        InvalidArgumentError: There is none, or one is no string.
        DuplicateIDError: One comes twice.
    """
    listed = as_list(given)
    if hasattr(given, "tolist"):
        listed = given.tolist()
    if not listed:
        raise InvalidArgumentError(f"Expected IDs to be a non-empty list, got {given!r}")
    for one in listed:
        if not isinstance(one, str):
            raise InvalidArgumentError(f"Expected ID to be a str, got {one!r}")
    if not is_bulk and len(set(listed)) != len(listed):
        counts = Counter(listed)
        twice = [one for one, count in counts.items() if count > 1]
        shown = ", ".join(twice[:_SHOWN]) + (", ..." if len(twice) > _SHOWN else "")
        raise DuplicateIDError(f"Expected IDs to be unique, found duplicates of: {shown}")
    return listed


def vectors(given: Any, name: str = "embeddings") -> NDArray[np.float32]:
    """Vectors as one block of shape (vectors, dimension); an array of that form is not copied.

    Raises:
        InvalidArgumentError: There is none, they differ in length, or they are no finite numbers.
    """
    import numpy as np

    if isinstance(given, np.ndarray) and given.dtype == np.float32:
        block = given
    else:
        try:
            block = np.asarray(given)
            if block.dtype.kind not in "iuf":
                raise ValueError(f"got values of the type {_kind_of(given)}")
            with np.errstate(over="ignore"):
                block = block.astype(np.float32)
        except ValueError as error:
            raise InvalidArgumentError(
                f"Expected {name} to be a list of floats or ints, a list of lists, a numpy array, or "
                f"a list of numpy arrays, all of one dimension: {error}"
            ) from error
    if block.ndim == 1:
        block = block.reshape(1, -1)
    if block.ndim != 2 or block.size == 0:
        raise InvalidArgumentError(
            f"Expected {name} to be a non-empty block of vectors with at least 1 dimension each, got "
            f"the shape {block.shape}"
        )
    if not np.isfinite(block).all():
        raise _not_finite(block, name)
    # An array that looks into the middle of a file need not begin where a number may.
    return np.require(block, requirements=["C", "A"])


def _not_finite(block: NDArray[np.float32], name: str) -> InvalidArgumentError:
    """The error that a vector of ``block`` has a number that is none."""
    import numpy as np

    row = int(np.isfinite(block).all(axis=1).argmin())
    error = InvalidArgumentError(
        "Embeddings must not contain NaN or Infinity values, nor numbers that are beyond 32 bits"
    )
    error.field, error.row = name, row
    return error


def _kind_of(given: Any) -> str:
    while isinstance(given, (list, tuple)) and given:
        given = given[0]
    return type(given).__name__


def column(
    given: Any, name: str, rows: int, *kinds: type, beside: str = "ids"
) -> list[Any] | None:
    """A column of as many values as there are ids, or whatever else is ``beside`` it; each is None or one
    of ``kinds``."""
    listed = as_list(given)
    if listed is None:
        return None
    if len(listed) != rows:
        raise InvalidArgumentError(
            f"Unequal lengths for fields: {beside}: {rows}, {name}: {len(listed)}; every column has as "
            f"many values as there are {beside}"
        )
    for one in listed:
        if one is not None and not isinstance(one, kinds):
            kind = kinds[0].__name__
            raise InvalidArgumentError(f"Expected {name} to be a list of {kind}, got {one!r}")
    return listed


def images(given: Any, name: str, rows: int, beside: str = "ids") -> list[Any] | None:
    """A column of images: arrays of two dimensions at least, or None."""
    listed = column(given, name, rows, object, beside=beside)
    for one in listed or ():
        if one is not None and getattr(one, "ndim", 0) < 2:
            raise InvalidArgumentError(
                f"Expected {name} to be numpy arrays of two dimensions at least, got {one!r}"
            )
    return listed


def metadatas(given: Any, rows: int, operation: str, is_bulk: bool = False) -> list[Any] | None:
    """A column of metadata: each a dictionary that is not empty, or None."""
    listed = column(given, "metadatas", rows, dict)
    for one in listed or ():
        if one is not None and not one:
            raise InvalidArgumentError(
                "Expected metadata to be a non-empty dict, got 0 metadata attributes"
            )
    if listed:
        check_records(listed, operation, is_bulk)
    return listed


def clause(given: Any, name: str) -> dict[str, Any] | None:
    """A filter as a dictionary; an expression becomes one, and no filter is None."""
    if given is None:
        return None
    if hasattr(given, "to_dict"):
        given = given.to_dict()
    if not isinstance(given, dict):
        raise InvalidArgumentError(f"Expected {name} to be a dict, got {given!r}")
    if not given:
        raise InvalidArgumentError(f"Expected {name} to have exactly one operator, got {{}}")
    return given


def include(given: Any, *forbidden: str) -> list[str]:
    """The columns that are asked for."""
    if not isinstance(given, (list, tuple)):
        raise InvalidArgumentError(f"Expected include to be a list, got {given!r}")
    allowed = [one for one in _COLUMNS if one not in forbidden]
    names: list[Any] = [getattr(one, "value", one) for one in given]
    for one in names:
        if one not in allowed:
            raise InvalidArgumentError(
                f"Expected include item to be one of {', '.join(allowed)}, got {one!r}"
            )
    return names


def text(given: Any, name: str) -> str:
    """A string, such as a name."""
    if not isinstance(given, str):
        raise ArgumentTypeError(f"Expected {name} to be a str, got {given!r}")
    return given


def whole(given: Any, name: str, least: int = 0) -> int | None:
    """A whole number from ``least`` on, or None."""
    if given is None:
        return None
    if hasattr(given, "item"):
        given = given.item()
    if not isinstance(given, int) or isinstance(given, bool):
        raise ArgumentTypeError(f"Expected {name} to be a int, got {given!r}")
    if given < least:
        raise ArgumentRangeError(f"Expected {name} to be at least {least}, got {given}")
    return min(given, 2**32 - 1)


def results(given: Any) -> int:
    """How many results are asked for, from 1 on."""
    if given is None or given == 0 or isinstance(given, int) and given < 0:
        # chromadb takes a number that is too small for one of another type.
        raise ArgumentTypeError(f"Expected n_results to be a int and at least 1, got {given!r}")
    count = whole(given, "n_results")
    assert count is not None
    return count


def _plain(value: Any) -> Any:
    for method in ("tolist", "to_dict"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise InvalidArgumentError(
        f"A value of the type {type(value).__name__} cannot be sent: strings, numbers, booleans, lists "
        f"and dictionaries of them can"
    )


#: Writes the body of a request; values of NumPy become plain ones.
encode = json.JSONEncoder(default=_plain, separators=(",", ":"), check_circular=False).encode
