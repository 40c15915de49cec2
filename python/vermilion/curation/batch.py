"""Columns that a program logs, checked and brought into the forms that a server reads.

What must stay true: what can be judged without the server is judged here, before anything is kept or sent;
one value for each record, and None where there is nothing to say.
"""

from __future__ import annotations

import base64
import datetime
import math
import time
from collections.abc import Iterator
from typing import Any

from vermilion import records
from vermilion.errors import InvalidArgumentError

#: The columns of texts, and what their fields are called in a line.
_TEXTS = {
    "ids": "id",
    "input_uris": "input_uri",
    "targets": "target",
    "inference_classes": "inference_class",
    "label_classes": "label_class",
    "groups": "group",
}
#: All others.
_OTHERS = {
    "quality_scores": "quality_score",
    "observed_at": "observed_at",
    "probabilities": "probabilities",
    "logits": "logits",
    "thumbnails": "thumbnail",
    "metadatas": "metadata",
}
#: Bytes of a thumbnail at most.
_THUMBNAIL_BYTES_MAX = 32 * 1024
#: Digits that numbers of the model keep behind the point.
_DIGITS = 7


def wrong(message: str, field: str, row: int | None = None, hint: str | None = None) -> InvalidArgumentError:
    """A refusal as the server words it."""
    error = InvalidArgumentError(message)
    error.field, error.row, error.hint = field, row, hint
    return error


class Batch:
    """Records in columns.

    Raises:
        InvalidArgumentError: A column has another length, or a value that it cannot have; its ``field`` and
            ``row`` say which.
    """

    def __init__(self, embeddings: Any, input_uris: Any, **columns: Any) -> None:
        import numpy as np

        block = records.vectors(embeddings)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise wrong("A vector has numbers that are not finite.", "embeddings", row, "finite numbers")
        self.embeddings = block
        named = {"input_uris": input_uris, **columns}
        unknown = set(named) - set(_TEXTS) - set(_OTHERS)
        if unknown:
            known = ", ".join([*_TEXTS, *_OTHERS])
            raise wrong(f"`{min(unknown)}` is no column of a log.", min(unknown), hint=known)
        if named["input_uris"] is None:
            raise wrong("Records need input_uris.", "input_uris", hint="a name for each input")
        named["observed_at"] = _or_now(named.get("observed_at"), len(block))
        self.columns: dict[str, list[Any]] = {}
        for name, given in named.items():
            column = _column(name, given, len(block))
            if column is not None:
                self.columns[name] = column
        for row, uri in enumerate(self.columns["input_uris"]):
            if not uri:
                raise wrong("A record has no input_uri.", "input_uris", row)

    def __len__(self) -> int:
        return len(self.embeddings)

    def _vectors(self) -> list[str]:
        little = self.embeddings.astype("<f4", copy=False)
        return [base64.b64encode(row).decode() for row in little]

    def body(self) -> dict[str, Any]:
        """The body of a log, in columns."""
        return {"embeddings": self._vectors(), **self.columns}

    def lines(self) -> Iterator[str]:
        """A line of JSON for each record, with its end."""
        fields = {**_TEXTS, **_OTHERS}
        columns = [(fields[name], column) for name, column in self.columns.items()]
        for row, vector in enumerate(self._vectors()):
            line: dict[str, Any] = {"embedding": vector}
            for field, column in columns:
                if column[row] is not None:
                    line[field] = column[row]
            yield records.encode(line) + "\n"


def _or_now(given: Any, rows: int) -> Any:
    return [round(time.time(), 3)] * rows if given is None else given


def _column(name: str, given: Any, rows: int) -> list[Any] | None:
    if given is None:
        return None
    alone = isinstance(given, (str, bytes, bytearray, memoryview, dict, int, float, datetime.datetime))
    if rows == 1 and not alone and name in ("probabilities", "logits") and not _is_nested(given):
        alone = True
    listed = [given] if alone else list(given)
    if len(listed) != rows:
        message = f"`{name}` has {len(listed)} values, `embeddings` has {rows}."
        raise wrong(message, name, hint="one value for each record, None where there is none")
    if name in _TEXTS:
        read = _text
    else:
        read = {
            "quality_scores": _number,
            "observed_at": _moment,
            "probabilities": _scores,
            "logits": _scores,
            "thumbnails": _thumbnail,
            "metadatas": _metadata,
        }[name]
    column = [read(name, row, value) for row, value in enumerate(listed)]
    return column if any(value is not None for value in column) else None


def _is_nested(given: Any) -> bool:
    return any(hasattr(one, "__len__") or one is None for one in given)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(name: str, row: int, value: Any) -> str | None:
    """A text; numbers are the text that people write for them."""
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, str):
        return value
    if _is_missing(value) or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(f"{value!r} is no text.", name, row, "texts, or whole numbers")
    if isinstance(value, float) and not value.is_integer():
        raise wrong(f"{value!r} is no name.", name, row, "texts, or whole numbers")
    return str(int(value))


def _number(name: str, row: int, value: Any) -> float | None:
    if _is_missing(value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise wrong(f"{value!r} is no number.", name, row, "numbers") from None
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise wrong("A number is not finite.", name, row, "finite numbers")
    return number


def _moment(name: str, row: int, value: Any) -> float | str | None:
    """Seconds since 1970, or a text that the server reads."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime.datetime):
        # A time without a zone is one of this machine, as everywhere in Python.
        return value.timestamp()
    if type(value).__name__ == "datetime64":
        return _number(name, row, value.astype("datetime64[ms]").astype("int64") / 1000)
    return _number(name, row, value)


def _scores(name: str, row: int, value: Any) -> Any:
    """A number for each class, or some classes by name."""
    if _is_missing(value):
        return None
    if isinstance(value, dict):
        return {str(key): _number(name, row, one) for key, one in value.items()}
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise wrong(f"{value!r} has no number for each class.", name, row, "lists of numbers, or dictionaries")
    numbers = [_number(name, row, one) for one in value]
    if any(one is None for one in numbers):
        raise wrong("A class has no number.", name, row, "finite numbers")
    return [round(one, _DIGITS) for one in numbers]  # type: ignore[arg-type]


def _thumbnail(name: str, row: int, value: Any) -> str | None:
    """Bytes as base64."""
    if _is_missing(value):
        return None
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise wrong(f"{type(value).__name__} is no thumbnail.", name, row, "bytes of a PNG, JPEG, GIF, WebP or AVIF file")
    if not 0 < len(bytes(value)) <= _THUMBNAIL_BYTES_MAX:
        allowed = f"1 to {_THUMBNAIL_BYTES_MAX} bytes"
        raise wrong(f"A thumbnail has {len(bytes(value))} bytes.", name, row, allowed)
    return base64.b64encode(value).decode()


def _metadata(name: str, row: int, value: Any) -> dict[str, Any] | None:
    if _is_missing(value):
        return None
    if not isinstance(value, dict):
        raise wrong(f"{value!r} is no dictionary.", name, row, "dictionaries of texts, numbers and booleans")
    return {key: one for key, one in value.items() if not _is_missing(one)} or None
