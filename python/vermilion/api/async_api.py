"""Where programs for chromadb look for the class of asynchronous clients."""

from vermilion.aio import AsyncClientAPI, AsyncCollection

__all__ = ["AsyncClientAPI", "AsyncCollection"]
