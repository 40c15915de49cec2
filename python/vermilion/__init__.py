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

    # Named twice: so they count as names of this package.
    from vermilion import api as api
    from vermilion import base_types as base_types
    from vermilion import config as config
    from vermilion import curation as curation
    from vermilion import embedding_functions as embedding_functions
    from vermilion import errors as errors
    from vermilion import execution as execution
    from vermilion import search as search
    from vermilion import types as types
    from vermilion import utils as utils
    from vermilion.aio import AsyncClientAPI, AsyncCollection
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
        URI,
        URIs,
        UpdateCollectionMetadata,
        UpdateMetadata,
        Where,
        WhereDocument,
    )

    __version__: str

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
    "base_types",
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

# Written out, since checkers of types do not run the program; a test holds it against the names above.
__all__ = [
    "AdminAPI",
    "AdminClient",
    "AsyncClientAPI",
    "AsyncCollection",
    "AsyncHttpClient",
    "BoolInvertedIndexConfig",
    "Client",
    "ClientAPI",
    "CloudClient",
    "Collection",
    "CollectionMetadata",
    "DEFAULT_DATABASE",
    "DEFAULT_TENANT",
    "Documents",
    "EmbeddingFunction",
    "Embeddings",
    "EphemeralClient",
    "FloatInvertedIndexConfig",
    "FtsIndexConfig",
    "GetResult",
    "GroupBy",
    "HnswIndexConfig",
    "HttpClient",
    "IDs",
    "Include",
    "IntInvertedIndexConfig",
    "K",
    "Key",
    "Knn",
    "MaxK",
    "Metadata",
    "Metadatas",
    "MinK",
    "PersistentClient",
    "QueryResult",
    "ReadLevel",
    "Rrf",
    "Schema",
    "Search",
    "SearchResult",
    "Settings",
    "SpannIndexConfig",
    "SparseEmbeddingFunction",
    "SparseVector",
    "SparseVectorIndexConfig",
    "SparseVectors",
    "StringInvertedIndexConfig",
    "TokenTransportHeader",
    "URI",
    "URIs",
    "UpdateCollectionMetadata",
    "UpdateMetadata",
    "VectorIndexConfig",
    "Where",
    "WhereDocument",
    "__version__",
    "configure",
    "get_settings",
]


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
