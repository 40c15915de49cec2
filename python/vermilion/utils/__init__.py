"""Where programs for chromadb look for its helpers."""

from vermilion import embedding_functions

__all__ = ["embedding_functions"]
