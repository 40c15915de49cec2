"""Where programs for chromadb look for the class of searches."""

from vermilion.search import Search

__all__ = ["Search"]
