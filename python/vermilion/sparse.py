"""Sparse vectors made of texts, for the keys of a schema that say of which texts and by which function.

What must stay true: a vector that the caller gives is kept as it is; what the caller gave is never changed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from vermilion import embedding_functions
from vermilion.errors import InvalidArgumentError
from vermilion.types import SparseVector

DOCUMENT = "#document"


class Target(NamedTuple):
    """A key of metadata that holds sparse vectors."""

    key: str
    #: The key of the texts, or ``#document``; None where vectors are always given.
    source: str | None
    #: How the collection keeps the function.
    described: dict[str, Any]
    #: What makes the vectors; None where it is not known here.
    function: Any

    def make(self, texts: list[str], is_query: bool = False) -> list[SparseVector]:
        """The vectors of ``texts``.

        Raises:
            InvalidArgumentError: The function is not known, or answers something else.
        """
        if self.function is None:
            raise InvalidArgumentError(
                f"The vectors of the key {self.key!r} are made by the embedding function "
                f"{self.described.get('name')!r}, which is not known here; register it "
                f"(register_embedding_function), or give the vectors"
            )
        embed = self.function
        if is_query and hasattr(embed, "embed_query"):
            embed = embed.embed_query
        made = [_sparse(one) for one in embed(input=texts)]
        if len(made) != len(texts):
            raise InvalidArgumentError(
                f"The embedding function of the key {self.key!r} made {len(made)} vectors of {len(texts)} "
                f"texts; it must make one of each"
            )
        return made


def _sparse(vector: Any) -> SparseVector:
    if isinstance(vector, SparseVector):
        return vector
    if not isinstance(vector, dict):
        names = ("indices", "values", "labels")
        vector = {name: getattr(vector, name) for name in names if hasattr(vector, name)}
    if "indices" in vector and "values" in vector:
        indices, values = map(int, vector["indices"]), map(float, vector["values"])
        return SparseVector(list(indices), list(values), vector.get("labels"))
    raise InvalidArgumentError(
        "An embedding function of sparse vectors made something else; it must make SparseVectors"
    )


def targets(schema: dict[str, Any] | None) -> list[Target]:
    """The keys of a collection's schema whose vectors a function makes."""
    found = []
    for key, kinds in ((schema or {}).get("keys") or {}).items():
        index = ((kinds or {}).get("sparse_vector") or {}).get("sparse_vector_index") or {}
        config = index.get("config") or {}
        described = config.get("embedding_function") or {}
        if index.get("enabled") and described.get("type") == "known":
            function = embedding_functions.of_collection(described)
            found.append(Target(key, config.get("source_key"), described, function))
    return found


def fill(
    found: list[Target],
    rows: int,
    metadatas: list[dict[str, Any] | None] | None,
    documents: list[Any] | None,
) -> list[dict[str, Any] | None] | None:
    """The column of metadata with a vector under each key of ``found`` that has a text and no vector."""
    for target in found:
        if target.source is None:
            continue
        texts, places = [], []
        for row in range(rows):
            members = (metadatas and metadatas[row]) or {}
            if target.source == DOCUMENT:
                text = documents and documents[row]
            else:
                text = members.get(target.source)
            if isinstance(text, str) and target.key not in members:
                texts.append(text)
                places.append(row)
        if texts:
            filled = list(metadatas) if metadatas is not None else [None] * rows
            for row, vector in zip(places, target.make(texts)):
                filled[row] = {**(filled[row] or {}), target.key: vector}
            metadatas = filled
    return metadatas
