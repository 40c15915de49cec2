"""A plugin of pytest with which Chroma's own tests run in process on our engine.

With CHROMA_RUST_BINDINGS_TEST_ONLY=1 they take chromadb's embedded database; this puts ours in its place.
"""

import zlib

import chromadb.config
import numpy as np
from chromadb.test.property import invariants
from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2

import vermilion.chroma

_made = chromadb.config.System.__init__


def _with_our_engine(system, settings):
    if settings.chroma_api_impl == "chromadb.api.rust.RustBindingsAPI":
        settings.chroma_api_impl = vermilion.chroma.IMPLEMENTATION
    _made(system, settings)


chromadb.config.System.__init__ = _with_our_engine
# It counts rows in the SQLite file of Chroma's engine, which is not there.
invariants.log_size_below_max = lambda *_: None


def _embed(_, input):
    """Equal texts get equal vectors: the model would be fetched from the internet."""
    seeds = (zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in input)
    return [np.random.default_rng(seed).standard_normal(384, dtype=np.float32) for seed in seeds]


ONNXMiniLM_L6_V2.__call__ = _embed
