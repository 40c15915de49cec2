"""Where programs for chromadb look for the parts of ranked searches."""

from vermilion.execution import expression

__all__ = ["expression"]
