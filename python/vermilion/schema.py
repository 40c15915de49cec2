"""Schemas: which indexes a collection has, for all metadata or for single keys."""

from __future__ import annotations

import copy
from typing import Any

from vermilion import embedding_functions

_UNSET: Any = object()

#: Of each kind of index: the type of value that it is of, and its name in a schema.
_PLACES = {
    "FtsIndexConfig": ("string", "fts_index"),
    "StringInvertedIndexConfig": ("string", "string_inverted_index"),
    "IntInvertedIndexConfig": ("int", "int_inverted_index"),
    "FloatInvertedIndexConfig": ("float", "float_inverted_index"),
    "BoolInvertedIndexConfig": ("bool", "bool_inverted_index"),
    "VectorIndexConfig": ("float_list", "vector_index"),
    "SparseVectorIndexConfig": ("sparse_vector", "sparse_vector_index"),
}


class _Config:
    def __init__(self, **settings: Any) -> None:
        self.settings = {name: value for name, value in settings.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """The settings as they are in a schema."""
        return {
            name: value.settings if isinstance(value, _Config) else value
            for name, value in self.settings.items()
        }


class FtsIndexConfig(_Config):
    """The index of documents, for ``$contains`` and ``$regex``."""


class StringInvertedIndexConfig(_Config):
    """The index of strings."""


class IntInvertedIndexConfig(_Config):
    """The index of integers."""


class FloatInvertedIndexConfig(_Config):
    """The index of floats."""


class BoolInvertedIndexConfig(_Config):
    """The index of booleans."""


class HnswIndexConfig(_Config):
    """Settings of Chroma's graph index, which are kept and passed over."""


class SpannIndexConfig(_Config):
    """Settings of Chroma's distributed index, which are kept and passed over."""


class VectorIndexConfig(_Config):
    """The index of the records' vectors.

    Args:
        space: How vectors are compared: ``l2``, ``cosine`` or ``ip``.
        embedding_function: What makes vectors of documents; None for nothing.
        source_key: What the vectors are made of.
        hnsw: Settings of Chroma's index.
        spann: Settings of Chroma's distributed index.
    """

    def __init__(
        self,
        *,
        space: str | None = None,
        embedding_function: Any = _UNSET,
        source_key: Any = None,
        hnsw: HnswIndexConfig | None = None,
        spann: SpannIndexConfig | None = None,
    ) -> None:
        super().__init__(space=space, hnsw=hnsw, spann=spann, source_key=_text(source_key))
        if embedding_function is not _UNSET:
            self.settings["embedding_function"] = _described(embedding_function)
        self.embedding_function = embedding_function


class SparseVectorIndexConfig(_Config):
    """The index of a key's sparse vectors.

    Args:
        embedding_function: What makes the vectors of texts.
        source_key: The key of the texts, or ``Key.DOCUMENT``.
        bm25: Whether the weights of a query are those of BM25.
    """

    def __init__(
        self, *, embedding_function: Any = None, source_key: Any = None, bm25: bool | None = None
    ) -> None:
        if source_key is not None and embedding_function is None:
            raise ValueError("A source_key needs an embedding_function that reads it")
        super().__init__(source_key=_text(source_key), bm25=bm25)
        self.settings["embedding_function"] = _described(embedding_function)
        self.embedding_function = embedding_function


def _text(key: Any) -> str | None:
    return None if key is None else str(key)


def _described(function: Any) -> dict[str, Any]:
    return embedding_functions.describe(function) or {"type": "unknown"}


class Schema:
    """What a collection indexes; what is not said is as the database has it.

    ``create_index`` and ``delete_index`` change the schema and answer it.
    """

    def __init__(self) -> None:
        self._plain: dict[str, Any] = {"defaults": {}, "keys": {}}
        #: The function that makes vectors of documents, where the schema names one.
        self.embedding_function: Any = _UNSET

    def create_index(self, config: _Config | None = None, key: Any = None) -> Schema:
        """Has values under ``key``, or under every key without one, indexed as ``config`` says."""
        return self._set(config, key, True)

    def delete_index(self, config: _Config | None = None, key: Any = None) -> Schema:
        """Leaves values under ``key``, or under every key without one, out of an index."""
        return self._set(config, key, False)

    def _set(self, config: _Config | None, key: Any, enabled: bool) -> Schema:
        if config is None and key is None:
            raise ValueError("Name an index, a key, or both")
        named = type(config).__name__
        if config is not None and named not in _PLACES:
            raise ValueError(f"{named} is no index; {', '.join(_PLACES)} are")
        changed = copy.deepcopy(self._plain)
        if isinstance(config, VectorIndexConfig):
            if key is not None or not enabled:
                raise ValueError(
                    "The index of the records' vectors is there for all of them: it takes no key, and "
                    "it cannot be deleted"
                )
            self.embedding_function = config.embedding_function
            places: list[tuple[Any, _Config]] = [
                (changed["keys"].setdefault("#embedding", {}), config)
            ]
        elif isinstance(config, SparseVectorIndexConfig) and key is None:
            raise ValueError("An index of sparse vectors is made for a key; name it")
        else:
            whole = changed["defaults"] if key is None else changed["keys"].setdefault(str(key), {})
            kinds = [config] if config is not None else [one() for one in _OF_VALUES]
            places = [(whole, one) for one in kinds]
        for place, one in places:
            kind, name = _PLACES[type(one).__name__]
            settings = {"enabled": enabled, "config": one.to_dict()}
            place.setdefault(kind, {})[name] = settings
        self._plain = changed
        return self

    def serialize_to_json(self) -> dict[str, Any]:
        """The schema as it is in a request."""
        return copy.deepcopy(self._plain)

    def described(self, function: Any = None) -> dict[str, Any]:
        """The schema as it is in a request for a new collection.

        Args:
            function: What makes vectors of documents, where the schema itself names nothing; the space of the one
                that counts is that of the collection where the schema has none.
        """
        plain = self.serialize_to_json()
        named = self.embedding_function is not _UNSET
        function = self.embedding_function if named else function
        if function is None:
            return plain
        kinds = plain["keys"].setdefault("#embedding", {}).setdefault("float_list", {})
        index = kinds.setdefault("vector_index", {"enabled": True, "config": {}})
        if not named:
            index["config"]["embedding_function"] = _described(function)
        if embedding_functions.name_of(function) != embedding_functions.DEFAULT:
            # The space of the default one is that of the database, and settings in metadata count beside it.
            index["config"] = embedding_functions.with_space(function, index["config"])
        return plain

    @staticmethod
    def deserialize_from_json(plain: dict[str, Any]) -> Schema:
        """The schema that a request or an answer holds."""
        made = Schema()
        made._plain = {"defaults": plain.get("defaults", {}), "keys": plain.get("keys", {})}
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self._plain == other._plain

    __hash__ = None  # type: ignore[assignment]


_OF_VALUES = (
    StringInvertedIndexConfig,
    IntInvertedIndexConfig,
    FloatInvertedIndexConfig,
    BoolInvertedIndexConfig,
)
