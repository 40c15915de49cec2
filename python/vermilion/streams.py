"""Records as Arrow streams, for servers that take them: numbers stay numbers on the way.

The columns are those of the reference: ``id``, ``embedding``, ``document``, ``uri``, and metadata as JSON in
``metadata``. Answers that are streams are read by the native part of the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vermilion.records import encode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The type of a body that is a stream.
MEDIA_TYPE = "application/vnd.apache.arrow.stream"


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
