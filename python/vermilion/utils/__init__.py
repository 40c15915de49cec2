"""Where programs for chromadb look for its helpers."""

from vermilion.utils import batch_utils, data_loaders, embedding_functions, results

__all__ = ["batch_utils", "data_loaders", "embedding_functions", "results"]
