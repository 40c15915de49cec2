"""Records as Arrow streams, for servers that take them: numbers stay numbers on the way.

The columns are those of the reference: ``id``, ``embedding``, ``document``, ``uri``, and metadata as JSON in
``metadata`` or, in answers, also one key a column in ``metadata.KEY``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vermilion.records import encode
from vermilion.types import SparseVector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The type of a body that is a stream.
MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_KEY = "metadata."


def write(columns: dict[str, Any], embeddings: NDArray[np.float32] | None) -> memoryview:
    """The body of ``add``, ``update`` or ``upsert``; vectors are copied into it once."""
    import pyarrow as arrow

    sink = arrow.BufferOutputStream()
    write_to(sink, columns, embeddings)
    return memoryview(sink.getvalue())


def write_to(file: Any, columns: dict[str, Any], embeddings: NDArray[np.float32] | None) -> None:
    """Writes the same to a file of Python or Arrow."""
    import pyarrow as arrow

    made = {"id": arrow.array(columns["ids"], arrow.string())}
    if embeddings is not None:
        values = arrow.array(embeddings.reshape(-1))
        made["embedding"] = arrow.FixedSizeListArray.from_arrays(values, embeddings.shape[1])
    for name in ("document", "uri"):
        if f"{name}s" in columns:
            made[name] = arrow.array(columns[f"{name}s"], arrow.large_string())
    if "metadatas" in columns:
        texts = [None if one is None else encode(one) for one in columns["metadatas"]]
        made["metadata"] = arrow.array(texts, arrow.large_string())
    table = arrow.table(made)
    with arrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def read(stream: Any, include: list[str]) -> dict[str, Any]:
    """The answer to ``get``, in columns; those that were not asked for are None."""
    import pyarrow as arrow

    table = arrow.ipc.open_stream(stream).read_all()
    answer: dict[str, Any] = {"ids": table["id"].to_pylist(), "embeddings": None}
    for name in ("document", "uri"):
        asked = f"{name}s" in include
        answer[f"{name}s"] = table[name].to_pylist() if asked else None
    if "embeddings" in include:
        column = table["embedding"].combine_chunks()
        # A copy, for the stream cannot be written to, and the array is the caller's.
        block = column.flatten().to_numpy(zero_copy_only=False, writable=True)
        answer["embeddings"] = block.reshape(len(table), column.type.list_size if len(table) else 0)
    answer["metadatas"] = _metadata(table) if "metadatas" in include else None
    return answer


def _metadata(table: Any) -> list[dict[str, Any] | None]:
    rows: list[dict[str, Any]] = [{} for _ in range(len(table))]
    for name in table.column_names:
        if name.startswith(_KEY):
            for members, value in zip(rows, table[name].to_pylist()):
                if value is not None:
                    members[name[len(_KEY) :]] = value
    if "metadata" in table.column_names:
        for members, text in zip(rows, table["metadata"].to_pylist()):
            if text is not None:
                members.update(json.loads(text))
    for members in rows:
        for key, value in members.items():
            if isinstance(value, dict):
                members[key] = SparseVector.from_dict(value)
    return [members or None for members in rows]
