"""Where programs for chromadb look for the modules of collections."""

from vermilion.api.models import AsyncCollection, Collection

__all__ = ["AsyncCollection", "Collection"]
