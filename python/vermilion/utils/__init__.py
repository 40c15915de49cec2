"""Where programs for chromadb look for its helpers."""

from vermilion.utils import batch_utils, embedding_functions

__all__ = ["batch_utils", "embedding_functions"]
