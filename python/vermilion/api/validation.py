"""The checks of arguments under the names of chromadb; those that collections make themselves.

Filters have none here: the database judges them.
"""

from __future__ import annotations

from typing import Any, TypeVar

from vermilion import embedding_functions, records
from vermilion.metadata import check_records

Given = TypeVar("Given")


def validate_ids(ids: Given) -> Given:
    """Ids as they were given, each a string, each once; otherwise a ``ValueError``."""
    records.ids(ids)
    return ids


def validate_embeddings(embeddings: Given) -> Given:
    """Vectors as they were given, of one dimension and of finite numbers; otherwise a ``ValueError``."""
    records.vectors(embeddings)
    return embeddings


def validate_metadata(metadata: Given) -> Given:
    """The metadata of one record as it was given; a ``ValueError`` where ``add`` refuses it."""
    validate_metadatas([metadata])
    return metadata


def validate_metadatas(metadatas: Given) -> Given:
    """The metadata of records as it was given; a ``ValueError`` where ``add`` refuses it."""
    listed = records.as_list(metadatas) or []
    check_records(records.metadatas(listed, len(listed)) or [], "add")
    return metadatas


def validate_include(include: Any, disallowed: Any = None) -> None:
    """Refuses columns that there are not, and those that are ``disallowed``, by a ``ValueError``."""
    records.include(include, *(disallowed or ()))


def validate_n_results(n_results: int) -> int:
    """How many results are asked for, from 1 on; otherwise a ``ValueError``."""
    return records.results(n_results)


def validate_embedding_function(embedding_function: Any) -> None:
    """Refuses what cannot be called as ``function(input=...)`` by a ``ValueError``."""
    embedding_functions.check(embedding_function)
