"""What callers give, checked and brought into columns.

What must stay true: every check is made before anything is written. Of metadata only that is checked here
which chromadb refuses and the database would take (:mod:`vermilion.metadata`); the rest where it is read.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from vermilion.errors import ArgumentRangeError, ArgumentTypeError, DuplicateIDError, InvalidArgumentError, at_record
from vermilion.metadata import not_finite

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
    if (row := _first_of_other(listed, str)) is not None:
        raise at_record(InvalidArgumentError(f"Expected ID to be a str, got {listed[row]!r}"), row, "ids")
    if not is_bulk and len(set(listed)) != len(listed):
        counts = Counter(listed)
        twice = [one for one, count in counts.items() if count > 1]
        shown = ", ".join(twice[:_SHOWN]) + (", ..." if len(twice) > _SHOWN else "")
        first = listed.index(twice[0])
        raise at_record(
            DuplicateIDError(f"Expected IDs to be unique, found duplicates of: {shown}"),
            listed.index(twice[0], first + 1),
            "ids",
        )
    return listed


def vectors(given: Any, name: str = "embeddings", dimension: int | None = None) -> NDArray[np.float32]:
    """Vectors as one block of shape (vectors, dimension); an array of that form is not copied.

    Args:
        given: The vectors, or one.
        name: What they are called in messages.
        dimension: That which they should have, if it is known: it tells which one is wrong where they differ.

    Raises:
        InvalidArgumentError: There is none, they differ in length, or they are no finite numbers.
    """
    import numpy as np

    from vermilion import _engine

    if type(given) is np.ndarray and given.dtype == np.float32:
        block = given
    else:
        listed = _listed(given)
        block = _block(given, name, dimension) if listed is None else listed
    row = 0 if block.ndim > 1 and len(block) else None
    if block.ndim == 1:
        block = block.reshape(1, -1)
    if block.ndim != 2 or block.size == 0:
        error = InvalidArgumentError(
            f"Expected {name} to be a non-empty block of vectors with at least 1 dimension each, got "
            f"the shape {block.shape}"
        )
        raise at_record(error, row, name)
    # An array that looks into the middle of a file need not begin where a number may.
    block = np.require(block, requirements=["C", "A"])
    if not _engine.all_finite(block):
        raise _not_finite(block, name)
    return block


def _listed(given: Any) -> NDArray[np.float32] | None:
    """Lists of floats of one length, read faster than NumPy does it; None for everything else."""
    if type(given) is not list or not given or type(given[0]) is not list:
        return None
    from vermilion import _engine

    return _engine.block_of(given)


def _block(given: Any, name: str, dimension: int | None) -> NDArray[np.float32]:
    """Numbers of any other kind than an array of float32 as such an array."""
    import numpy as np

    try:
        block = np.asarray(_unmasked(given))
        if block.dtype.kind not in "iuf":
            raise ValueError(f"got values of the type {_kind_of(given)}")
        with np.errstate(over="ignore"):
            block = block.astype(np.float32, copy=False)
        if _has_truth_values(given, block):
            raise ValueError("got values of the type bool")
    except ValueError as error:
        row, why = _first_wrong(given, dimension) or (None, str(error))
        raise at_record(
            InvalidArgumentError(
                f"Expected {name} to be a list of floats or ints, a list of lists, a numpy array, or "
                f"a list of numpy arrays, all of one dimension: {why}"
            ),
            row,
            name,
        ) from error
    return block


def _unmasked(given: Any) -> Any:
    """The same with NaN, which is refused, where NumPy masks a number: there is none."""
    import numpy as np

    if isinstance(given, np.ma.MaskedArray):
        return np.ma.filled(given.astype(np.float32), np.nan) if given.dtype.kind in "iuf" else given
    if isinstance(given, (list, tuple)) and any(isinstance(one, np.ma.MaskedArray) for one in given):
        return [_unmasked(one) for one in given]
    return given


def _has_truth_values(given: Any, block: NDArray[np.float32]) -> bool:
    """Whether one of the lists of which ``block`` was made has True or False among its numbers.

    Only lists with a 0 or a 1 are looked through, of which vectors of models have next to none.
    """
    if not isinstance(given, (list, tuple)) or not 1 <= block.ndim <= 2:
        return False
    if block.ndim == 1:
        return bool in map(type, given)
    rows = ((block == 0) | (block == 1)).any(axis=1).nonzero()[0].tolist()
    return any(isinstance(given[row], (list, tuple)) and bool in map(type, given[row]) for row in rows)


def _first_wrong(given: Any, dimension: int | None) -> tuple[int, str] | None:
    """The first of ``given`` that is no vector like the others, and why; None where they are not in a list."""
    import numpy as np

    if isinstance(given, np.ndarray) and given.dtype == object:
        given = list(given)
    if not isinstance(given, (list, tuple)) or not given:
        return None
    if given[0] is not None and not hasattr(given[0], "__len__") or isinstance(given[0], str):
        # One vector alone.
        given = [given]
    for row, one in enumerate(given):
        try:
            vector = np.asarray(one)
        except ValueError as error:
            return row, str(error)
        kinds = set(map(type, one)) if isinstance(one, (list, tuple)) else set()
        if vector.dtype.kind not in "iuf" or bool in kinds:
            names = sorted(kind.__name__ for kind in kinds - {int, float})
            if not names:
                names = [str(vector.dtype) if isinstance(one, np.ndarray) else type(one).__name__]
            return row, f"got values of the type {', '.join(names)}"
        if vector.ndim != 1 or not vector.size:
            return row, f"got a vector of the shape {vector.shape}"
        if dimension is None:
            dimension = len(vector)
        if len(vector) != dimension:
            return row, f"got a vector with the dimension {len(vector)} beside one of {dimension}"
    return None


def _not_finite(block: NDArray[np.float32], name: str) -> InvalidArgumentError:
    """The error that a vector of ``block`` has a number that is none."""
    import numpy as np

    error = InvalidArgumentError(
        "Embeddings must not contain NaN or Infinity values, nor numbers that are beyond 32 bits"
    )
    return at_record(error, int(np.isfinite(block).all(axis=1).argmin()), name)


def _kind_of(given: Any) -> str:
    while isinstance(given, (list, tuple)) and given:
        given = given[0]
    return type(given).__name__


def blame(error: InvalidArgumentError, columns: dict[str, Any], vectors: str | None) -> None:
    """Finds the record at fault where the database has refused records without a word about which.

    Args:
        error: What the database said.
        columns: The records, without their vectors.
        vectors: What the vectors are called, which are all of one dimension; None where there are none.
    """
    if error.row is not None:
        return
    message = error.message()
    if vectors and "expecting embedding with dimension" in message:
        at_record(error, 0, vectors)
    elif "at least one character" in message and "" in columns.get("ids", ()):
        at_record(error, columns["ids"].index(""), "ids")
    elif found := not_finite(columns.get("metadatas") or ()):
        # JSON has no words for such numbers, and a server that reads it knows no more than that.
        row, key = found
        error.args = (f"The metadata value of {key!r} in record {row} is no finite number.",)
        at_record(error, row, "metadatas")


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
    if (row := _first_of_other(listed, *kinds, type(None))) is not None:
        error = InvalidArgumentError(f"Expected {name} to be a list of {kinds[0].__name__}, got {listed[row]!r}")
        raise at_record(error, row, name)
    return listed


def _first_of_other(listed: list[Any], *kinds: type) -> int | None:
    """The number of the first value that is of none of these types; None where there is none."""
    # Without a step of this program for each value, of which there are many.
    if set(kinds).issuperset(map(type, listed)):
        return None
    return next((row for row, one in enumerate(listed) if not isinstance(one, kinds)), None)


def images(given: Any, name: str, rows: int, beside: str = "ids") -> list[Any] | None:
    """A column of images: arrays of two dimensions at least, or None."""
    listed = column(given, name, rows, object, beside=beside)
    for row, one in enumerate(listed or ()):
        if one is not None and getattr(one, "ndim", 0) < 2:
            error = InvalidArgumentError(
                f"Expected {name} to be numpy arrays of two dimensions at least, got {one!r}"
            )
            raise at_record(error, row, name)
    return listed


def metadatas(given: Any, rows: int) -> list[Any] | None:
    """A column of metadata: each a dictionary that is not empty, or None. What is in them is left to
    :func:`vermilion.metadata.check_records`."""
    listed = column(given, "metadatas", rows, dict)
    if listed and not all(listed) and {} in listed:
        error = InvalidArgumentError("Expected metadata to be a non-empty dict, got 0 metadata attributes")
        raise at_record(error, listed.index({}), "metadatas")
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
    if not isinstance(given, int):
        raise ArgumentTypeError(f"Expected {name} to be a int, got {given!r}")
    if given < least:
        raise ArgumentRangeError(f"Expected {name} to be at least {least}, got {given}")
    # True counts as 1, as with chromadb; JSON would keep the word.
    return min(int(given), 2**32 - 1)


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
