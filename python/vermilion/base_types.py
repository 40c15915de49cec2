"""Where programs for chromadb look for the types that have no other ones below them."""

from vermilion.types import (
    LiteralValue,
    Metadata,
    SparseVector,
    UpdateMetadata,
    Vector,
    Where,
    WhereDocument,
)

__all__ = [
    "LiteralValue",
    "Metadata",
    "SparseVector",
    "UpdateMetadata",
    "Vector",
    "Where",
    "WhereDocument",
]
