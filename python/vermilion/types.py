"""The types of arguments and answers."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Embedding = NDArray[np.float32]
    #: A block of shape (records, dimension), a list of vectors, or one vector.
    Embeddings = NDArray[Any] | Sequence[NDArray[Any]] | Sequence[Sequence[float]] | Sequence[float]
else:
    Embedding = Any
    Embeddings = Any

ID = str
IDs = list[str]
Document = str
Documents = list[str]
URI = str
URIs = list[str]
Image = Any
Images = list[Any]
Metadata = Mapping[str, Any]
Metadatas = list[Metadata]
CollectionMetadata = dict[str, Any]
UpdateMetadata = Mapping[str, Any]
UpdateCollectionMetadata = dict[str, Any]
Where = dict[str, Any]
WhereDocument = dict[str, Any]
Include = list[Literal["documents", "embeddings", "metadatas", "distances", "uris", "data"]]
IncludeMetadataDocuments: Include = ["metadatas", "documents"]
IncludeMetadataDocumentsDistances: Include = ["metadatas", "documents", "distances"]
IncludeMetadataDocumentsEmbeddings: Include = ["metadatas", "documents", "embeddings"]
Space = Literal["l2", "cosine", "ip"]
LiteralValue = str | int | float | bool
PyEmbedding = Sequence[float] | Sequence[int]
PyEmbeddings = list[PyEmbedding]
Vector = PyEmbedding
Embeddable = Documents | Images
Loadable = list[Any]
DataLoader = Callable[[URIs], Loadable]


class ReadLevel(str, enum.Enum):
    """How much of what was written a read sees."""

    #: Everything that was acknowledged before.
    INDEX_AND_WAL = "index_and_wal"
    #: What is indexed; the read never waits.
    INDEX_ONLY = "index_only"
    #: What is indexed and a bounded part of what is not.
    INDEX_AND_BOUNDED_WAL = "index_and_bounded_wal"


class SparseVector:
    """A sparse vector, a value of metadata.

    Args:
        indices: The dimensions that have a value, ascending, each from 0 to 2**32 - 1.
        values: Their values, finite numbers.
        labels: Their names, where they have any.

    Raises:
        ValueError: The lists differ in length, or the indices do not ascend.
    """

    __slots__ = ("indices", "labels", "values")

    def __init__(
        self, indices: list[int], values: list[float], labels: list[str] | None = None
    ) -> None:
        if len(indices) != len(values) or (labels is not None and len(labels) != len(indices)):
            raise ValueError(
                f"A sparse vector has as many values (and labels) as indices; got {len(indices)} "
                f"indices and {len(values)} values"
            )
        if any(a >= b for a, b in zip(indices, indices[1:])) or (indices and indices[0] < 0):
            raise ValueError("The indices of a sparse vector ascend from 0, each once")
        self.indices = indices
        self.values = values
        self.labels = labels

    def to_dict(self) -> dict[str, Any]:
        """The vector as it is in a request."""
        plain = {"#type": "sparse_vector", "indices": self.indices, "values": self.values}
        if self.labels is not None:
            plain["tokens"] = self.labels
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SparseVector:
        """The vector that :meth:`to_dict` wrote."""
        return cls(list(plain["indices"]), list(plain["values"]), plain.get("tokens"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparseVector) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SparseVector(indices={self.indices}, values={self.values}, labels={self.labels})"


SparseVectors = list[SparseVector]


class GetResult(TypedDict):
    """Records in the order of their first insertion; a column that was not asked for is None."""

    ids: list[str]
    #: Of shape (records, dimension).
    embeddings: NDArray[np.float32] | None
    documents: list[str | None] | None
    uris: list[str | None] | None
    data: list[Any] | None
    metadatas: list[dict[str, Any] | None] | None
    included: Include


class QueryResult(TypedDict):
    """The nearest records of each query, nearest first: one entry of every column for each query."""

    ids: list[list[str]]
    #: Each of shape (records, dimension).
    embeddings: list[NDArray[np.float32]] | None
    documents: list[list[str | None]] | None
    uris: list[list[str | None]] | None
    data: list[Any] | None
    metadatas: list[list[dict[str, Any] | None]] | None
    #: Squared Euclidean distance, or one less the cosine, or one less the inner product.
    distances: list[list[float]] | None
    included: Include


class SearchResult(dict[str, Any]):
    """The answers to searches, in columns: one entry of every column for each search."""

    def rows(self) -> list[list[dict[str, Any]]]:
        """The same as one dictionary for each record, with the columns that were selected."""
        names = {
            "documents": "document",
            "embeddings": "embedding",
            "metadatas": "metadata",
            "scores": "score",
        }
        answers = []
        for number, ids in enumerate(self["ids"]):
            records = [{"id": one} for one in ids]
            for column, name in names.items():
                values = self[column][number]
                for record, value in zip(records, values or ()):
                    record[name] = value
            answers.append(records)
        return answers


class DeleteResult(TypedDict):
    """What a deletion did."""

    #: How many records were meant.
    deleted: int


class AttachedFunction(NamedTuple):
    """A function that fills a collection from another one.

    Attributes:
        id: Its id.
        name: Its name among the functions of its input.
        function_name: ``"statistics"`` or ``"record_counter"``.
        input_collection_id: The collection it reads.
        output_collection: The name of the collection it fills.
    """

    id: uuid.UUID
    name: str
    function_name: str
    input_collection_id: uuid.UUID
    output_collection: str


class IndexingStatus(NamedTuple):
    """How far the segments of a collection are behind its log."""

    num_indexed_ops: int
    num_unindexed_ops: int
    total_ops: int
    #: From 0 to 1.
    op_indexing_progress: float


class UserIdentity(NamedTuple):
    """Who the server takes this client for."""

    user_id: str
    tenant: str | None = None
    databases: list[str] | None = None
    #: More that a server tells.
    attributes: dict[str, Any] | None = None


class Tenant(dict[str, Any]):
    """A tenant: its ``name``."""


class Database(dict[str, Any]):
    """A database: its ``id``, ``name`` and ``tenant``."""


class CollectionModel(dict[str, Any]):
    """A collection: its ``id``, ``name``, ``metadata``, ``configuration_json``, ``dimension`` and so on, which are
    attributes as well."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"A collection has no {name!r}; it has {', '.join(self)}") from None


def __getattr__(name: str) -> Any:
    # Programs for chromadb find these among the types.
    if name == "Collection":
        from vermilion.collection import Collection

        return Collection
    if name in ("EmbeddingFunction", "SparseEmbeddingFunction", "DefaultEmbeddingFunction"):
        from vermilion import embedding_functions

        return getattr(embedding_functions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
