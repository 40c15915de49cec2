"""Where programs for chromadb look for clients and types."""

from vermilion import types
from vermilion.client import AdminAPI, ClientAPI

__all__ = ["AdminAPI", "ClientAPI", "types"]
