"""Vermilion: an embedding database, in this process or behind a server.

    import vermilion

    client = vermilion.PersistentClient("./data")
    notes = client.get_or_create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=[[1.0, 2.0]], documents=["a note"])
    notes.query(query_embeddings=[[1.0, 2.0]], n_results=1)

Names, arguments, answers and exceptions are those of chromadb, so that ``import vermilion as chromadb``
runs programs that were written for it. What is named here is loaded when it is first used.
"""

from __future__ import annotations

import importlib

# What checkers of types read; importing `typing` for it would take longer than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vermilion.client import (
        AdminAPI,
        AdminClient,
        AsyncHttpClient,
        Client,
        ClientAPI,
        CloudClient,
        EphemeralClient,
        HttpClient,
        PersistentClient,
    )
    from vermilion.collection import Collection
    from vermilion.config import (
        DEFAULT_DATABASE,
        DEFAULT_TENANT,
        Settings,
        TokenTransportHeader,
        configure,
        get_settings,
    )
    from vermilion.embedding_functions import EmbeddingFunction, SparseEmbeddingFunction
    from vermilion.schema import (
        BoolInvertedIndexConfig,
        FloatInvertedIndexConfig,
        FtsIndexConfig,
        HnswIndexConfig,
        IntInvertedIndexConfig,
        Schema,
        SpannIndexConfig,
        SparseVectorIndexConfig,
        StringInvertedIndexConfig,
        VectorIndexConfig,
    )
    from vermilion.search import GroupBy, K, Key, Knn, MaxK, MinK, Rrf, Search
    from vermilion.types import (
        CollectionMetadata,
        Documents,
        Embeddings,
        GetResult,
        IDs,
        Include,
        Metadata,
        Metadatas,
        QueryResult,
        ReadLevel,
        SearchResult,
        SparseVector,
        SparseVectors,
        URIs,
        Where,
        WhereDocument,
    )

_MODULES = {
    "client": (
        "AdminAPI AdminClient AsyncHttpClient Client ClientAPI CloudClient EphemeralClient HttpClient "
        "PersistentClient"
    ),
    "aio": "AsyncClientAPI AsyncCollection",
    "collection": "Collection",
    "config": "DEFAULT_DATABASE DEFAULT_TENANT Settings TokenTransportHeader configure get_settings",
    "embedding_functions": "EmbeddingFunction SparseEmbeddingFunction",
    "schema": (
        "BoolInvertedIndexConfig FloatInvertedIndexConfig FtsIndexConfig HnswIndexConfig "
        "IntInvertedIndexConfig Schema SpannIndexConfig SparseVectorIndexConfig StringInvertedIndexConfig "
        "VectorIndexConfig"
    ),
    "search": "GroupBy K Key Knn MaxK MinK Rrf Search",
    "types": (
        "CollectionMetadata Documents Embeddings GetResult IDs Include Metadata Metadatas QueryResult "
        "ReadLevel SearchResult SparseVector SparseVectors URI URIs UpdateCollectionMetadata UpdateMetadata Where "
        "WhereDocument"
    ),
}
_PARTS = (
    "api",
    "config",
    "curation",
    "embedding_functions",
    "errors",
    "execution",
    "search",
    "types",
    "utils",
)
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is not None:
        value = getattr(importlib.import_module(f"vermilion.{home}"), name)
    elif name == "__version__":
        value = importlib.import_module("vermilion._engine").__version__
    elif name in _PARTS:
        value = importlib.import_module(f"vermilion.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
