"""Where programs for chromadb look for the module of collections."""

from vermilion.api.models import Collection

__all__ = ["Collection"]
