"""Where programs for chromadb look for the class of collections."""

from vermilion.collection import Collection

__all__ = ["Collection"]
