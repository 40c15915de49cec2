"""Columns that a program logs, checked and brought into the forms that a server reads.

What must stay true: what can be judged without the server is judged here, before anything is kept or sent;
one value for each record, and None where there is nothing to say.
"""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import Iterator
from typing import Any

from vermilion import records
from vermilion.curation import scores, values
from vermilion.curation.values import wrong

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


class Batch:
    """Records in columns.

    Args:
        head: What the session says of all of them, as far as it is judged by: ``class_names`` and ``metric``.

    Raises:
        InvalidArgumentError: A column has another length, or a value that it cannot have; its ``field`` and
            ``row`` say which.
    """

    def __init__(self, embeddings: Any, input_uris: Any, head: dict[str, Any] | None = None, /, **columns: Any) -> None:
        import numpy as np

        block = records.vectors(embeddings)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise wrong("A vector has numbers that are not finite.", "embeddings", row, "finite numbers")
        head = head or {}
        if head.get("metric") == "cosine" and not (some := block.any(axis=1)).all():
            row = int(np.argmin(some))
            message = f"The vector of record {row} is zero, which has no direction."
            hint = "a space with the metric `l2` takes zero vectors"
            raise wrong(message, "embeddings", row, hint, "zero_vector")
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
            column = _column(name, given, len(block), head.get("class_names"))
            if column is not None:
                self.columns[name] = column
        for row, uri in enumerate(self.columns.get("input_uris", [None])):
            if not uri:
                raise wrong("A record has no input_uri.", "input_uris", row)
        self._expect_one_of_two()

    def __len__(self) -> int:
        return len(self.embeddings)

    def _expect_one_of_two(self) -> None:
        pairs = zip(self.columns.get("probabilities", ()), self.columns.get("logits", ()), strict=False)
        for row, (probabilities, logits) in enumerate(pairs):
            if probabilities is not None and logits is not None:
                message = f"Record {row} has both probabilities and logits."
                raise wrong(message, "logits", row, "one of the two", "ambiguous_scores")

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


def _column(name: str, given: Any, rows: int, class_names: list[str] | None) -> list[Any] | None:
    if given is None:
        return None
    alone = isinstance(given, (str, bytes, bytearray, memoryview, dict, int, float, datetime.datetime))
    if rows == 1 and not alone and name in ("probabilities", "logits") and not _is_nested(given):
        alone = True
    listed = [given] if alone else list(given)
    if len(listed) != rows:
        message = f"`{name}` has {len(listed)} values, `embeddings` has {rows}."
        raise wrong(message, name, hint="one value for each record, None where there is none")
    if name in ("probabilities", "logits"):
        column = scores.column(name, listed, listed if alone else given, class_names)
    else:
        read = values.text if name in _TEXTS else _READERS[name]
        column = [read(name, row, value) for row, value in enumerate(listed)]
    return column if any(value is not None for value in column) else None


#: How values of other columns are read.
_READERS: dict[str, Any] = {
    "quality_scores": values.number,
    "observed_at": values.moment,
    "thumbnails": values.thumbnail,
    "metadatas": values.metadata,
}


def _is_nested(given: Any) -> bool:
    return any(hasattr(one, "__len__") or one is None for one in given)
