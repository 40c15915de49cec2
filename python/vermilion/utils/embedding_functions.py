"""Where programs for chromadb look for embedding functions: those of :mod:`vermilion.embedding_functions`."""

from __future__ import annotations

from typing import Any

from vermilion import embedding_functions as _functions
from vermilion.embedding_functions import (
    DefaultEmbeddingFunction,
    EmbeddingFunction,
    SparseEmbeddingFunction,
    config_to_embedding_function,
    known_embedding_functions,
    register_embedding_function,
    register_sparse_embedding_function,
)

__all__ = [
    "DefaultEmbeddingFunction",
    "EmbeddingFunction",
    "SparseEmbeddingFunction",
    "config_to_embedding_function",
    "known_embedding_functions",
    "register_embedding_function",
    "register_sparse_embedding_function",
]


def __getattr__(name: str) -> Any:
    # Those that chromadb brings, where it is installed.
    return getattr(_functions, name)
