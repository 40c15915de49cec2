"""The configuration of collections as typed dictionaries, under the names of chromadb.

They are dictionaries and nothing else: what is in one is judged by the database.
"""

from __future__ import annotations

from typing import Any, TypedDict

from vermilion.types import Space


class UpdateHNSWConfiguration(TypedDict, total=False):
    """What can change of the settings of HNSW."""

    ef_search: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


class CreateHNSWConfiguration(UpdateHNSWConfiguration, total=False):
    """Settings of HNSW."""

    space: Space
    ef_construction: int
    max_neighbors: int


class UpdateSpannConfiguration(TypedDict, total=False):
    """What can change of the settings of SPANN."""

    search_nprobe: int
    ef_search: int


class CreateSpannConfiguration(UpdateSpannConfiguration, total=False):
    """Settings of SPANN."""

    space: Space
    write_nprobe: int
    ef_construction: int
    max_neighbors: int
    reassign_neighbor_count: int
    split_threshold: int
    merge_threshold: int


class CreateCollectionConfiguration(TypedDict, total=False):
    """What ``create_collection(configuration=...)`` takes."""

    hnsw: CreateHNSWConfiguration | None
    spann: CreateSpannConfiguration | None
    embedding_function: Any


class UpdateCollectionConfiguration(TypedDict, total=False):
    """What ``modify(configuration=...)`` takes."""

    hnsw: UpdateHNSWConfiguration | None
    spann: UpdateSpannConfiguration | None
    embedding_function: Any


# What a collection answers has the same members.
HNSWConfiguration = CreateHNSWConfiguration
SpannConfiguration = CreateSpannConfiguration
CollectionConfiguration = CreateCollectionConfiguration

__all__ = [
    "CollectionConfiguration",
    "CreateCollectionConfiguration",
    "CreateHNSWConfiguration",
    "CreateSpannConfiguration",
    "HNSWConfiguration",
    "SpannConfiguration",
    "UpdateCollectionConfiguration",
    "UpdateHNSWConfiguration",
    "UpdateSpannConfiguration",
]
