"""Collections: their records, written and read."""

from __future__ import annotations

import copy
import functools
import math
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vermilion import embedding_functions, filters, records, sparse
from vermilion.errors import BatchSizeExceededError, InvalidArgumentError
from vermilion.metadata import check_collection, check_records
from vermilion.types import AttachedFunction, CollectionModel, DeleteResult, IndexingStatus, ReadLevel, SearchResult

if TYPE_CHECKING:
    from vermilion.client import ClientAPI
    from vermilion.ingest import Report
    from vermilion.types import (
        CollectionMetadata,
        Embeddings,
        GetResult,
        Include,
        Metadata,
        QueryResult,
        Where,
        WhereDocument,
    )

_GET = ["metadatas", "documents"]
_QUERY = ["metadatas", "documents", "distances"]
_PEEK = ["embeddings", "metadatas", "documents"]


class Collection:
    """A collection of a database; made by a client.

    Attributes:
        id: Its id, which stays when it is renamed.
        name: Its name, unique in its database.
        metadata: Its metadata, or None.
        tenant: The tenant of its database.
        database: Its database.
    """

    #: That of the vectors, as far as this object has seen it.
    _dimension: int | None = None

    def __init__(
        self,
        client: ClientAPI,
        model: dict[str, Any],
        embedding_function: Any = None,
        data_loader: Any = None,
    ) -> None:
        self._client = client
        self._transport = client._transport
        self._embedding_function = embedding_function
        self._data_loader = data_loader
        self._take(model)

    def _take(self, model: dict[str, Any]) -> None:
        self._model = model
        self.id = uuid.UUID(model["id"])
        self.name: str = model["name"]
        self.metadata: CollectionMetadata | None = model["metadata"]
        self.tenant: str = model["tenant"]
        self.database: str = model["database"]
        self._names = (self.tenant, self.database, model["id"])
        self._sparse = sparse.targets(model.get("schema"))
        self._dimension = model.get("dimension") or self._dimension

    @property
    def configuration_json(self) -> dict[str, Any]:
        """The configuration as the database tells it."""
        return self._model["configuration_json"]

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration, with the embedding function itself and not its description."""
        return {**self.configuration_json, "embedding_function": self._embedding_function}

    @property
    def schema(self) -> Any:
        """What the collection indexes."""
        from vermilion.schema import Schema

        return Schema.deserialize_from_json(self._model["schema"])

    def __repr__(self) -> str:
        return f"Collection(name={self.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and self.id == other.id and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.id)

    def get_model(self) -> CollectionModel:
        """What the database told of the collection when it was got or changed."""
        return CollectionModel({**copy.deepcopy(self._model), "id": self.id})

    def count(self, read_level: ReadLevel | str = ReadLevel.INDEX_AND_WAL) -> int:
        """How many records there are."""
        return self._transport.call("count", *self._names, body={"read_level": _level(read_level)})

    def add(
        self,
        ids: str | Sequence[str],
        embeddings: Embeddings | None = None,
        metadatas: Metadata | Sequence[Metadata | None] | None = None,
        documents: str | Sequence[str | None] | None = None,
        images: Any = None,
        uris: str | Sequence[str | None] | None = None,
    ) -> None:
        """Adds records, all or none; one whose id exists is left as it is.

        Args:
            ids: The ids, each once.
            embeddings: Vectors of shape (records, dimension), or one of shape (dimension,); made of the
                documents, images or uris where not given. An array of float32 is taken as it is.
            metadatas: Dictionaries of strings, numbers, booleans, lists of one of these, and sparse
                vectors.
            documents: Texts.
            images: Images as arrays, for the embedding function; they are not stored.
            uris: Where the data of the records is.

        Raises:
            InvalidArgumentError: An argument is wrong; nothing was added. Also a ``ValueError``. Where one record
                is at fault, ``row`` is its number and ``field`` the column.
            DuplicateIDError: An id comes twice.
        """
        self._write("add", ids, embeddings, metadatas, documents, images, uris)

    def upsert(
        self,
        ids: str | Sequence[str],
        embeddings: Embeddings | None = None,
        metadatas: Metadata | Sequence[Metadata | None] | None = None,
        documents: str | Sequence[str | None] | None = None,
        images: Any = None,
        uris: str | Sequence[str | None] | None = None,
    ) -> None:
        """Adds records, and changes those whose ids exist. Arguments and errors as of :meth:`add`."""
        self._write("upsert", ids, embeddings, metadatas, documents, images, uris)

    def update(
        self,
        ids: str | Sequence[str],
        embeddings: Embeddings | None = None,
        metadatas: Metadata | Sequence[Metadata | None] | None = None,
        documents: str | Sequence[str | None] | None = None,
        images: Any = None,
        uris: str | Sequence[str | None] | None = None,
    ) -> None:
        """Changes records; ids that do not exist are passed over.

        What is not given stays; new documents get new vectors, and a key of metadata that is None goes.
        Arguments and errors as of :meth:`add`.
        """
        self._write("update", ids, embeddings, metadatas, documents, images, uris)

    def _write(
        self,
        operation: str,
        ids: Any,
        embeddings: Any,
        metadatas: Any,
        documents: Any,
        images: Any,
        uris: Any,
        is_bulk: bool = False,
    ) -> None:
        listed = records.ids(ids, is_bulk)
        rows = len(listed)
        limit = self._transport.max_batch_size()
        if rows > limit:
            raise BatchSizeExceededError(
                f"Batch size {rows} exceeds maximum batch size {limit}; write in parts, or use ingest()"
            )
        columns: dict[str, Any] = {"ids": listed}
        for name, given in (("documents", documents), ("uris", uris)):
            column = records.column(given, name, rows, str)
            if column is not None:
                columns[name] = column
        column = records.metadatas(metadatas, rows)
        look = functools.partial(check_records, column, operation, is_bulk) if column else None
        if look and (embeddings is None or self._sparse):
            # Vectors may take long to make, and none are made for records that are refused.
            look()
            look = None
        column = sparse.fill(self._sparse, rows, column, columns.get("documents"))
        if column is not None:
            columns["metadatas"] = column
        column = records.images(images, "images", rows)
        if embeddings is None:
            embeddings = self._made_of(columns.get("documents"), column, columns.get("uris"), operation)
        block = None
        if embeddings is not None:
            block = records.vectors(embeddings, dimension=self._dimension)
        if block is not None and len(block) != rows:
            raise InvalidArgumentError(
                f"Unequal lengths for fields: ids: {rows}, embeddings: {len(block)}; there is one vector "
                f"for each ID"
            )
        try:
            self._transport.write(self._names, operation, columns, block, look)
        except InvalidArgumentError as error:
            records.blame(error, columns, None if block is None else "embeddings")
            raise
        if block is not None:
            self._dimension = block.shape[1]

    def _made_of(
        self, documents: list[Any] | None, images: list[Any] | None, uris: Any, operation: str
    ) -> Any:
        """Vectors of what was given without any."""
        given = documents if documents is not None else images
        if given is None and uris is not None and self._data_loader is not None:
            given = self._data_loader(uris)
        if given is None:
            if operation == "update":
                return None
            raise InvalidArgumentError(
                "Expected embeddings, or documents, images or uris to make them of; got none of them"
            )
        if any(one is None for one in given):
            raise InvalidArgumentError("An embedding cannot be made of None; give embeddings as well")
        return self._embed(given)

    def _embed(self, given: Any, is_query: bool = False) -> Any:
        function = self._embedding_function
        if function is None:
            # As chromadb does for whoever got the collection with `embedding_function=None`; made here, so that
            # one that cannot be made hinders nobody who gives vectors.
            function = embedding_functions.of_collection(self.configuration_json.get("embedding_function"))
        if function is None:
            raise InvalidArgumentError(
                "You must provide an embedding function to compute embeddings: this collection has none. "
                "Give embeddings, or name embedding_function= where you get the collection."
            )
        if is_query and hasattr(function, "embed_query"):
            return function.embed_query(input=given)
        return function(input=given)

    def get(
        self,
        ids: str | Sequence[str] | None = None,
        where: Where | None = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: WhereDocument | None = None,
        include: Include = _GET,  # type: ignore[assignment]
    ) -> GetResult:
        """Records in the order of their first insertion.

        Args:
            ids: Only these.
            where: Only those whose metadata passes this filter.
            limit: How many at most.
            offset: How many to pass over.
            where_document: Only those whose document passes this filter.
            include: The columns: ``documents``, ``metadatas``, ``embeddings``, ``uris``, ``data``.

        Returns:
            A dictionary of columns; ``embeddings`` is an array of float32 of shape (records, dimension). The
            dimension is 0 where nothing was found and this object has not seen a vector.
        """
        asked = records.include(include, "distances")
        if ids is not None:
            ids = records.ids(ids)
        body = {
            **_selection(ids, where, where_document),
            "limit": records.whole(limit, "limit"),
            "offset": records.whole(offset, "offset"),
            "include": [one for one in asked if one != "data"],
        }
        if "data" in asked and "uris" not in asked:
            body["include"].append("uris")
        found = self._transport.get(self._names, body)
        found["embeddings"] = self._shaped(found["embeddings"], self._dimension)
        data = self._data(found["uris"]) if "data" in asked else None
        return {**found, "data": data, "included": asked}  # type: ignore[typeddict-item, return-value]

    def peek(self, limit: int = 10) -> GetResult:
        """The first records, with their vectors."""
        return self.get(limit=limit, include=_PEEK)  # type: ignore[arg-type]

    def query(
        self,
        query_embeddings: Embeddings | None = None,
        query_texts: str | Sequence[str] | None = None,
        query_images: Any = None,
        query_uris: str | Sequence[str] | None = None,
        ids: str | Sequence[str] | None = None,
        n_results: int = 10,
        where: Where | None = None,
        where_document: WhereDocument | None = None,
        include: Include = _QUERY,  # type: ignore[assignment]
        recall: float | str | None = None,
    ) -> QueryResult:
        """The nearest records to each query, nearest first.

        Args:
            query_embeddings: Vectors of shape (queries, dimension), or one of shape (dimension,).
            query_texts: Texts to make the vectors of, where none are given.
            query_images: Images to make the vectors of, instead.
            query_uris: Where the data to make the vectors of is, instead.
            ids: Only these.
            n_results: How many records for each query at most.
            where: Only those whose metadata passes this filter.
            where_document: Only those whose document passes this filter.
            include: The columns: ``documents``, ``metadatas``, ``embeddings``, ``distances``, ``uris``,
                ``data``.
            recall: The share of the nearest that should be found, from 0.8 to 0.999; more, up to 1, and
                ``exact`` compare with every record. The collection's own where not given.

        Returns:
            A dictionary of columns, each with one entry for each query.
        """
        queries = self._queries(query_embeddings, query_texts, query_images, query_uris)
        asked = records.include(include)
        body = {
            **_selection(ids, where, where_document),
            "n_results": records.results(n_results),
            "include": [one for one in asked if one != "data"],
        }
        if recall is not None:
            body["recall"] = _recall(recall)
        if "data" in asked and "uris" not in asked:
            body["include"].append("uris")
        try:
            found = self._transport.query(self._names, queries, body)
        except InvalidArgumentError as error:
            records.blame(error, {}, "query_embeddings")
            raise
        for one in found:
            one["embeddings"] = self._shaped(one["embeddings"], queries.shape[1])
        answer: dict[str, Any] = {"ids": [one["ids"] for one in found]}
        for name in ("embeddings", "documents", "uris", "metadatas", "distances"):
            is_asked = name in body["include"]
            answer[name] = [one[name] for one in found] if is_asked else None
        answer["data"] = (
            [self._data(uris) for uris in answer["uris"]] if "data" in asked else None
        )
        answer["included"] = asked
        return answer  # type: ignore[return-value]

    def _shaped(self, block: Any, dimension: int | None) -> Any:
        """The vectors of an answer: of the dimension of the collection even where there is none."""
        if block is None or block.shape[1]:
            if block is not None:
                self._dimension = block.shape[1]
            return block
        return block.reshape(0, dimension or 0)

    def _queries(self, embeddings: Any, texts: Any, images: Any, uris: Any) -> Any:
        if embeddings is not None:
            block = records.vectors(embeddings, "query_embeddings", self._dimension)
            # The vectors are what is searched for; what they may have been made of is checked only.
            rows, beside = len(block), "query_embeddings"
            records.column(texts, "query_texts", rows, str, beside=beside)
            records.images(images, "query_images", rows, beside)
            records.column(uris, "query_uris", rows, str, beside=beside)
            return block
        if sum(one is not None for one in (texts, images, uris)) != 1:
            raise InvalidArgumentError(
                "You must provide one of query_embeddings, query_texts, query_images, or query_uris, and "
                "one only beside query_embeddings"
            )
        made_of = records.as_list(texts if texts is not None else images)
        if made_of is None:
            made_of = self._data(records.as_list(uris))
        if not made_of:
            raise InvalidArgumentError("Expected at least one query, got none")
        return records.vectors(self._embed(made_of, is_query=True), "query_embeddings")

    def _data(self, uris: Any) -> Any:
        if self._data_loader is None:
            raise InvalidArgumentError(
                "You must set a data loader on the collection if loading from URIs: name data_loader= "
                "where you get the collection"
            )
        return self._data_loader(uris)

    def search(
        self, searches: Any, read_level: ReadLevel | str = ReadLevel.INDEX_AND_WAL
    ) -> SearchResult:
        """Ranked searches: see :class:`vermilion.Search`. All see the same records.

        Args:
            searches: One search or several.
            read_level: How much of what was written they see.

        Returns:
            Columns with one entry for each search: ``ids``, ``documents``, ``embeddings``,
            ``metadatas``, ``scores``; None where a search does not select one.
        """
        listed = records.as_list(searches) or []
        for one in listed:
            if not hasattr(one, "to_dict"):
                raise InvalidArgumentError(
                    f"Expected searches to be a Search or a list of them, got {one!r}"
                )
        body = {
            "searches": [self._with_vectors(one.to_dict()) for one in listed],
            "read_level": _level(read_level),
        }
        return SearchResult(self._transport.call("search", *self._names, body=body))

    def _with_vectors(self, part: Any) -> Any:
        """The same with vectors in the place of texts in each ``$knn``."""
        if isinstance(part, list):
            return [self._with_vectors(one) for one in part]
        if not isinstance(part, dict):
            return part
        knn = part.get("$knn")
        if isinstance(knn, dict) and isinstance(knn.get("query"), str):
            return {"$knn": {**knn, "query": self._vector_of(knn["query"], knn.get("key"))}}
        return {name: self._with_vectors(one) for name, one in part.items()}

    def _vector_of(self, text: str, key: str | None) -> Any:
        """The vector of a text that is searched for under ``key``, as it is in a request."""
        if key in (None, "#embedding"):
            made = self._embed([text], is_query=True)[0]
            return made.to_dict() if hasattr(made, "to_dict") else records.vectors(made)[0].tolist()
        for target in self._sparse:
            if target.key == key:
                return target.make([text], is_query=True)[0].to_dict()
        raise InvalidArgumentError(
            f"A text cannot be searched for under the key {key!r}: the schema names no embedding function "
            f"for it; search for a vector"
        )

    def delete(
        self,
        ids: str | Sequence[str] | None = None,
        where: Where | None = None,
        where_document: WhereDocument | None = None,
        limit: int | None = None,
    ) -> DeleteResult:
        """Deletes records: those that pass all that is given.

        Args:
            ids: Only these.
            where: Only those whose metadata passes this filter.
            where_document: Only those whose document passes this filter.
            limit: How many at most, in the order of :meth:`get`; needs a filter.

        Raises:
            InvalidArgumentError: Nothing says which records. Also a ``ValueError``.
        """
        if ids is None and where is None and where_document is None:
            raise InvalidArgumentError(
                "At least one of ids, where, or where_document must be provided in delete"
            )
        if ids is not None:
            ids = records.ids(ids)
        body = _selection(ids, where, where_document)
        if limit is not None:
            body["limit"] = records.whole(limit, "limit")
        answer = self._transport.call("delete", *self._names, body=body)
        return DeleteResult(deleted=answer["deleted"])

    def modify(
        self,
        name: str | None = None,
        metadata: CollectionMetadata | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> None:
        """Changes the name, the metadata as a whole, or settings of the collection.

        How vectors are compared cannot change: metadata with ``hnsw:space`` is refused.
        """
        if name is not None:
            records.text(name, "name")
        check_collection(metadata, is_change=True)
        if metadata is not None and "hnsw:space" in metadata:
            raise InvalidArgumentError(
                "Changing the distance function of a collection once it is created is not supported "
                "currently."
            )
        function = (configuration or {}).get("embedding_function")
        if function is not None:
            embedding_functions.check(function)
            described = embedding_functions.describe(function)
            configuration = {**(configuration or {}), "embedding_function": described}
        body = {"new_name": name, "new_metadata": metadata, "new_configuration": configuration}
        self._transport.call("update_collection", *self._names, body=body)
        if function is not None:
            self._embedding_function = function
        model = self._transport.call("get_collection_by_id", *self._names)
        # What chromadb shows in this object afterwards, which is not all that the database tells.
        if configuration and model["configuration_json"].get("embedding_function") is None:
            model["configuration_json"]["embedding_function"] = dict(embedding_functions.UNKNOWN)
        if metadata is not None:
            model["metadata"] = dict(metadata)
        self._take(model)
        if (configuration or {}).get("spann") is not None and not self.configuration_json.get("spann"):
            # As with chromadb: the database judges such settings, and takes good ones, which mean nothing to it.
            raise InvalidArgumentError(
                "Trying to update SPANN config but schema has HNSW: change the settings under hnsw"
            )

    def ingest(
        self,
        source: Any,
        batch_size: int = 10_000,
        progress: bool | Callable[[int], None] = False,
        resume: str | os.PathLike[str] | None = None,
        ids: Iterable[str] | None = None,
    ) -> Report:
        """Writes the records of a source in batches, as upserts; while one is written the next is made.

        Args:
            source: The path of a ``.parquet``, ``.jsonl``, ``.jsonl.zst`` or ``.csv`` file; an array of shape
                (records, dimension); a dictionary of columns; a table of pandas, Polars or Arrow; or
                dictionaries one after the other. Records have ``id``, ``embedding``, ``document``, ``metadata``
                and ``uri``; other columns are metadata under their names. Ids are texts, or numbers, which become
                such; documents and uris are texts or None. What has no embedding is embedded; of records with one
                id the last counts.
            batch_size: Records in a batch, which is written whole or not at all.
            progress: True shows how far it is on standard error; a function is told the records written.
            resume: A file that notes how far it is. A call that was cut off goes on where that says, if it
                has the same source and batches; the file goes when all is written.
            ids: The ids, where the source has none. Of an array: its row numbers, where not given.

        Returns:
            How many records were written and passed over, how long it took, and ``records_per_second``.

        Raises:
            ChromaError: A record is wrong; its ``row`` is the number of the record in the source, from 0 on.
                Nothing of its batch is written and nothing after it, and a note of the error says how many
                records before it are.
        """
        from vermilion import ingest

        return ingest.ingest(self, source, batch_size, progress, resume, ids)

    def export(
        self,
        path: str | os.PathLike[str],
        batch_size: int = 10_000,
        where: Where | None = None,
        where_document: WhereDocument | None = None,
        progress: bool | Callable[[int], None] = False,
        overwrite: bool = False,
    ) -> Report:
        """Writes the records to a ``.parquet`` or ``.jsonl`` file, which :meth:`ingest` and the command
        ``vermilion import`` read. The file is there only when it is whole.

        Args:
            path: The file.
            batch_size: Records that are read at once.
            where: Only those whose metadata passes this filter.
            where_document: Only those whose document passes this filter.
            progress: True shows how far it is on standard error; a function is told the records written.
            overwrite: Whether a file that is there already is replaced.

        Raises:
            FileThereError: The file is there already. Also a ``FileExistsError``.
        """
        from vermilion import ingest

        return ingest.export(self, path, batch_size, where, where_document, progress, overwrite)

    def to_arrow(self, batch_size: int = 10_000, where: Where | None = None) -> Any:
        """The records as a table of Arrow: ``id``, ``embedding``, ``document``, ``metadata`` as JSON,
        ``uri``."""
        from vermilion import ingest

        return ingest.to_arrow(self, batch_size, where)

    def to_polars(self, batch_size: int = 10_000, where: Where | None = None) -> Any:
        """The same as a DataFrame of Polars."""
        from vermilion import ingest

        return ingest.to_polars(self, batch_size, where)

    def to_pandas(self, batch_size: int = 10_000, where: Where | None = None) -> Any:
        """The same as a DataFrame of pandas, with metadata as dictionaries and vectors as arrays."""
        from vermilion import ingest

        return ingest.to_pandas(self, batch_size, where)

    def fork(self, new_name: str) -> Collection:
        """A new collection with the records of this one; neither sees what the other does later."""
        made = self._transport.call("fork", *self._names, body={"new_name": new_name})
        return Collection(self._client, made, self._embedding_function, self._data_loader)

    def fork_count(self) -> int:
        """How many forks come from the collection that this one comes from."""
        return self._transport.call("fork_count", *self._names)["count"]

    def attach_function(
        self,
        function: str,
        name: str,
        output_collection: str,
        params: dict[str, Any] | None = None,
    ) -> tuple[AttachedFunction, bool]:
        """Has a new collection hold what a function comes to of this one, whenever it is read.

        Args:
            function: ``"statistics"`` (how many records have each metadata value) or
                ``"record_counter"``.
            name: The name it has among the functions of this collection, which has one at most.
            output_collection: The name of the new collection.
            params: No function takes any.

        Returns:
            The function, and whether it is new: attaching the very same one again does nothing.

        Raises:
            ChromaError: The name is taken, or the collection has another function.
        """
        body = {
            "name": name,
            "function_id": getattr(function, "value", function),
            "output_collection": output_collection,
            "params": params,
        }
        made = self._transport.call("attach_function", *self._names, body=body)
        return self.get_attached_function(name), made["created"]

    def get_attached_function(self, name: str) -> AttachedFunction:
        """A function that is attached to this collection.

        Raises:
            NotFoundError: There is none of that name.
        """
        told = self._transport.call("get_attached_function", *self._names, name)["attached_function"]
        return AttachedFunction(
            uuid.UUID(told["id"]), told["name"], told["function_name"], self.id, told["output_collection"]
        )

    def detach_function(self, name: str, delete_output_collection: bool = False) -> bool:
        """Detaches a function; its output stays as it is, or is deleted."""
        body = {"delete_output": delete_output_collection}
        self._transport.call("detach_function", *self._names, name, body=body)
        return True

    def get_indexing_status(self) -> IndexingStatus:
        """How far the segments are behind what was written."""
        told = self._transport.call("indexing_status", *self._names)
        return IndexingStatus(*(told[name] for name in IndexingStatus._fields))


def _selection(ids: Any, where: Any, where_document: Any) -> dict[str, Any]:
    """The members of a body that say which records are meant, as far as they are given."""
    body: dict[str, Any] = {}
    if ids is not None:
        body["ids"] = [records.text(one, "ID") for one in records.as_list(ids) or ()]
    if where is not None:
        body["where"] = filters.where(where)
    if where_document is not None:
        body["where_document"] = filters.where_document(where_document)
    return body


def _recall(given: Any) -> Any:
    """A recall as it is in a request; its range is judged by the database."""
    value = given.item() if hasattr(given, "item") else given
    # JSON has no words for these.
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgumentError(
            f'recall is {value}; allowed are numbers from 0.8 to 0.999, 1 and "exact"'
        )
    return value


def _level(level: ReadLevel | str) -> str:
    return getattr(level, "value", level)
