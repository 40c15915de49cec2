"""Where programs for chromadb look for the class of asynchronous collections."""

from vermilion.aio import AsyncCollection

__all__ = ["AsyncCollection"]
