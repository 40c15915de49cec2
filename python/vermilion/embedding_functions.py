"""Functions that make vectors of documents, as chromadb defines them.

A function has ``__call__(input)``, which answers one vector for each document, and, to be kept with a
collection, ``name()``, ``get_config()`` and ``build_from_config(config)``. Functions that chromadb
brings work here as they are, where chromadb is installed.
"""

from __future__ import annotations

from typing import Any

#: Functions by the names under which collections keep them.
known_embedding_functions: dict[str, Any] = {}


class EmbeddingFunction:
    """The base of embedding functions; one that only has ``__call__`` is not kept with collections."""

    def __call__(self, input: Any) -> Any:
        """One vector for each member of ``input``: arrays of shape (dimension,), or lists."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__(self, input)")

    def embed_query(self, input: Any) -> Any:
        """The same for texts that are searched for; some models make another vector of them."""
        return self(input)

    @staticmethod
    def name() -> str:
        """The name under which a collection keeps the function."""
        return NotImplemented

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction:
        """The function that ``get_config`` told of."""
        return NotImplemented

    def get_config(self) -> dict[str, Any]:
        """What the function is made of; a JSON object without secrets."""
        return NotImplemented

    def default_space(self) -> str:
        """How the vectors are compared where a collection does not say."""
        return "l2"

    def supported_spaces(self) -> list[str]:
        """How the vectors can be compared."""
        return ["cosine", "l2", "ip"]


class SparseEmbeddingFunction(EmbeddingFunction):
    """The same for sparse vectors: ``__call__`` answers :class:`vermilion.SparseVector`."""


class DefaultEmbeddingFunction(EmbeddingFunction):
    """What collections have where no other function is named: that of chromadb, where it is installed.

    Vectors can always be given instead of documents alone.
    """

    def __call__(self, input: Any) -> Any:
        return _of_chromadb("DefaultEmbeddingFunction")()(input)

    @staticmethod
    def name() -> str:
        return "default"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> DefaultEmbeddingFunction:
        return DefaultEmbeddingFunction()

    def get_config(self) -> dict[str, Any]:
        return {}


known_embedding_functions["default"] = DefaultEmbeddingFunction


def register_embedding_function(function: Any) -> Any:
    """Lets collections that were made with this class find it again; to be used as a decorator."""
    name = function.name()
    if not isinstance(name, str):
        raise ValueError(f"{function.__name__} has no name(): collections find functions by it")
    known_embedding_functions[name] = function
    return function


def describe(function: Any) -> dict[str, Any] | None:
    """How a collection keeps ``function``; None for no function."""
    if function is None:
        return None
    try:
        name, config = function.name(), function.get_config()
    except (AttributeError, NotImplementedError):
        name = config = NotImplemented
    if not isinstance(name, str) or not isinstance(config, dict):
        return {"type": "legacy"}
    return {"type": "known", "name": name, "config": config}


def of_collection(described: dict[str, Any] | None) -> Any:
    """The function that a collection was made with; None where it has none that can be made again."""
    if not described or described.get("type") != "known":
        return None
    name = described["name"]
    found = known_embedding_functions.get(name)
    if found is None:
        try:
            from chromadb.utils.embedding_functions import known_embedding_functions as theirs
        except ImportError:
            return None
        found = theirs.get(name)
    return found and found.build_from_config(described.get("config") or {})


def _of_chromadb(name: str) -> Any:
    try:
        from chromadb.utils import embedding_functions as theirs
    except ImportError:
        raise ValueError(
            f"{name} is not part of this package; it is that of chromadb, which is not installed. Give "
            f"embeddings=, name another embedding_function=, or install chromadb."
        ) from None
    return getattr(theirs, name)


def __getattr__(name: str) -> Any:
    if name.endswith("EmbeddingFunction") or name.endswith("_L6_V2"):
        return _of_chromadb(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
