"""Records as Arrow streams, for servers that take them: numbers stay numbers on the way.

The columns are those of the reference: ``id``, ``embedding``, ``document``, ``uri``, and metadata as JSON in
``metadata``. Answers that are streams are read by the native part of the package.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vermilion.records import encode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The type of a body that is a stream.
MEDIA_TYPE = "application/vnd.apache.arrow.stream"


class Stream:
    """The body of ``add``, ``update`` or ``upsert``, not written yet; vectors are where the caller has them."""

    def __init__(self, columns: dict[str, Any], embeddings: NDArray[np.float32] | None) -> None:
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
        self._table = arrow.table(made)

    @functools.cached_property
    def length(self) -> int:
        """How many bytes it has once it is written."""
        import pyarrow as arrow

        # It counts what it is told, and keeps none of it.
        counted = arrow.MockOutputStream()
        self._write(counted)
        return int(counted.size())

    def write_to(self, room: Any) -> None:
        """Writes it to the beginning of a buffer, which has room for it."""
        import pyarrow as arrow

        self._write(arrow.FixedSizeBufferWriter(arrow.py_buffer(room)))

    def written(self) -> memoryview:
        """The same in memory of its own."""
        import pyarrow as arrow

        sink = arrow.BufferOutputStream()
        self._write(sink)
        return memoryview(sink.getvalue())

    def _write(self, sink: Any) -> None:
        import pyarrow as arrow

        with arrow.ipc.new_stream(sink, self._table.schema) as stream:
            stream.write_table(self._table)
