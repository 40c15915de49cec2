"""Where programs for chromadb look for what cuts many records into requests."""

from __future__ import annotations

from typing import Any

from vermilion.client import ClientAPI

__all__ = ["create_batches"]


def create_batches(
    api: ClientAPI, ids: Any, embeddings: Any = None, metadatas: Any = None, documents: Any = None
) -> list[tuple[Any, Any, Any, Any]]:
    """The records in parts that one request may have each: ids, embeddings, metadatas and documents."""
    size = api.get_max_batch_size()
    if len(ids) <= size:
        return [(ids, embeddings, metadatas, documents)]
    columns = (ids, embeddings, metadatas, documents)
    return [
        tuple(None if one is None else one[start : start + size] for one in columns)
        for start in range(0, len(ids), size)
    ]
