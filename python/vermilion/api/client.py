"""Where programs for chromadb look for the classes of clients."""

from vermilion.client import AdminAPI, ClientAPI
from vermilion.collection import Collection
from vermilion.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings

Client = ClientAPI
AdminClient = AdminAPI
#: What has ``clear_system_cache()``.
SharedSystemClient = ClientAPI

__all__ = [
    "DEFAULT_DATABASE",
    "DEFAULT_TENANT",
    "AdminAPI",
    "AdminClient",
    "Client",
    "ClientAPI",
    "Collection",
    "Settings",
    "SharedSystemClient",
]
