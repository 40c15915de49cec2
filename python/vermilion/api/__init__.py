"""Where programs for chromadb look for clients and types."""

from vermilion.aio import AsyncClientAPI
from vermilion.api import (
    async_api,
    client,
    collection_configuration,
    models,
    shared_system_client,
    types,
)
from vermilion.client import AdminAPI, ClientAPI
from vermilion.types import (
    DataLoader,
    DeleteResult,
    Documents,
    Embeddable,
    Embeddings,
    GetResult,
    IDs,
    Include,
    IndexingStatus,
    Loadable,
    Metadatas,
    QueryResult,
    ReadLevel,
    SearchResult,
    URIs,
    Where,
    WhereDocument,
)

# What a client asks is here the client's own: there is no class between both.
BaseAPI = ServerAPI = ClientAPI

__all__ = [
    "AdminAPI",
    "AsyncClientAPI",
    "BaseAPI",
    "ClientAPI",
    "DataLoader",
    "DeleteResult",
    "Documents",
    "Embeddable",
    "Embeddings",
    "GetResult",
    "IDs",
    "Include",
    "IndexingStatus",
    "Loadable",
    "Metadatas",
    "QueryResult",
    "ReadLevel",
    "SearchResult",
    "ServerAPI",
    "URIs",
    "Where",
    "WhereDocument",
    "async_api",
    "client",
    "collection_configuration",
    "models",
    "shared_system_client",
    "types",
]
