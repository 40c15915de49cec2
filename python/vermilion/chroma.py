"""The engine behind chromadb's own client: its programs run in process on Vermilion.

    import chromadb, vermilion.chroma

    client = chromadb.Client(vermilion.chroma.settings("./data"))

The same as ``Settings(chroma_api_impl="vermilion.chroma.ServerAPI", ...)``. Importing this module lets
chromadb take that name: its clients know only the implementations that it brings itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from uuid import UUID

from chromadb import errors as theirs
from chromadb.api import ServerAPI as _ServerAPI
from chromadb.api.collection_configuration import (
    create_collection_configuration_to_json,
    update_collection_configuration_to_json,
)
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.api.models.AttachedFunction import AttachedFunction
from chromadb.api.types import IndexingStatus, SearchResult
from chromadb.auth import UserIdentity
from chromadb.base_types import SparseVector as _SparseVector
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, System
from chromadb.types import Collection as _Model
from overrides import override

from vermilion import records
from vermilion.errors import ChromaError
from vermilion.transport import Embedded
from vermilion.types import SparseVector

# The marks that chromadb asks for; its own types are compared here by what they hold.
_answers = override(check_signature=False)

IMPLEMENTATION = "vermilion.chroma.ServerAPI"


def settings(path: str | None = None, **more: Any) -> Settings:
    """Settings of chromadb for a database in the folder ``path``, or in memory without one."""
    return Settings(
        chroma_api_impl=IMPLEMENTATION,
        is_persistent=path is not None,
        persist_directory=str(path or ""),
        **more,
    )


def _let_clients_take_us() -> None:
    # A static method: each client asks it which of the running systems is its own.
    known = SharedSystemClient._get_identifier_from_settings

    def identify(asked: Settings) -> str:
        if asked.chroma_api_impl != IMPLEMENTATION:
            return known(asked)
        return f"vermilion:{asked.persist_directory if asked.is_persistent else ''}"

    SharedSystemClient._get_identifier_from_settings = staticmethod(identify)


_let_clients_take_us()


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method`` with our errors as the exceptions of chromadb that have the same name."""

    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except ChromaError as error:
            kind = getattr(theirs, type(error).__name__, theirs.ChromaError)
            raise kind(str(error)) from error

    return call


def _model(plain: dict[str, Any]) -> _Model:
    return _Model(
        id=UUID(plain["id"]),
        serialized_schema=plain["schema"],
        **{
            name: plain[name]
            for name in (
                "name",
                "configuration_json",
                "metadata",
                "dimension",
                "tenant",
                "database",
                "version",
                "log_position",
            )
        },
    )


def _theirs(metadatas: list[dict[str, Any] | None] | None) -> list[dict[str, Any] | None] | None:
    """The same with sparse vectors of chromadb."""
    for members in metadatas or ():
        for key, value in (members or {}).items():
            if isinstance(value, SparseVector):
                members[key] = _SparseVector(value.indices, value.values, value.labels)
    return metadatas


class ServerAPI(_ServerAPI):
    """What chromadb asks of a database, answered by the engine in this process."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._settings = system.settings

    @_answers
    @_told
    def start(self) -> None:
        if self._settings.is_persistent:
            self._embedded = Embedded.at(self._settings.persist_directory)
        else:
            # One for each system: chromadb itself shares systems among clients.
            self._embedded = Embedded(None)
        super().start()

    @_answers
    def stop(self) -> None:
        super().stop()
        self._embedded.close()

    @_answers
    def reset_state(self) -> None:
        super().reset_state()
        self._embedded.call("reset")

    @_told
    def _call(self, operation: str, *names: Any, body: dict[str, Any] | None = None) -> Any:
        return self._embedded.call(operation, *map(str, names), body=body)

    @_answers
    def heartbeat(self) -> int:
        return self._embedded.heartbeat()

    @_answers
    def get_version(self) -> str:
        return self._embedded.version()

    @_answers
    def get_settings(self) -> Settings:
        return self._settings

    @_answers
    def get_max_batch_size(self) -> int:
        return self._embedded.max_batch_size()

    @_answers
    def get_user_identity(self) -> UserIdentity:
        return UserIdentity(user_id="", tenant=DEFAULT_TENANT, databases=[DEFAULT_DATABASE])

    @_answers
    def reset(self) -> bool:
        if not self._settings.allow_reset:
            raise theirs.AuthorizationError("Resetting is not allowed: the setting allow_reset is off")
        self._call("reset")
        return True

    @_answers
    def create_tenant(self, name: str) -> None:
        self._call("create_tenant", body={"name": name})

    @_answers
    def get_tenant(self, name: str) -> Any:
        return {"name": self._call("get_tenant", name)["name"]}

    @_answers
    def create_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        self._call("create_database", tenant, body={"name": name})

    @_answers
    def get_database(self, name: str, tenant: str = DEFAULT_TENANT) -> Any:
        found = self._call("get_database", tenant, name)
        return {**found, "id": UUID(found["id"])}

    @_answers
    def delete_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        self._call("delete_database", tenant, name)

    @_answers
    def list_databases(
        self, limit: int | None = None, offset: int | None = None, tenant: str = DEFAULT_TENANT
    ) -> Any:
        found = self._call("list_databases", tenant, body={"limit": limit, "offset": offset})
        return [{**one, "id": UUID(one["id"])} for one in found]

    @_answers
    def list_collections(
        self,
        limit: int | None = None,
        offset: int | None = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        page = {"limit": limit, "offset": offset}
        return [_model(one) for one in self._call("list_collections", tenant, database, body=page)]

    @_answers
    def count_collections(
        self, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> int:
        return self._call("count_collections", tenant, database)

    @_answers
    def create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: Any = None,
        metadata: Any = None,
        get_or_create: bool = False,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        body = {"name": name, "metadata": metadata, "get_or_create": get_or_create}
        if configuration:
            body["configuration"] = create_collection_configuration_to_json(configuration, metadata)
        if schema:
            body["schema"] = schema.serialize_to_json()
        return _model(self._call("create_collection", tenant, database, body=body))

    @_answers
    def get_or_create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: Any = None,
        metadata: Any = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        return self.create_collection(
            name, schema, configuration, metadata, True, tenant, database
        )

    @_answers
    def get_collection(
        self, name: str, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> Any:
        return _model(self._call("get_collection", tenant, database, name))

    @_answers
    def get_collection_by_id(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        return _model(self._call("get_collection_by_id", tenant, database, collection_id))

    @_answers
    def delete_collection(
        self, name: str, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> None:
        self._call("delete_collection", tenant, database, name)

    @_answers
    def _modify(
        self,
        id: UUID,
        new_name: str | None = None,
        new_metadata: Any = None,
        new_configuration: Any = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> None:
        body = {"new_name": new_name, "new_metadata": new_metadata}
        if new_configuration:
            body["new_configuration"] = update_collection_configuration_to_json(new_configuration)
        self._call("update_collection", tenant, database, id, body=body)

    @_answers
    def _fork(
        self,
        collection_id: UUID,
        new_name: str,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        names = tenant, database, collection_id
        return _model(self._call("fork", *names, body={"new_name": new_name}))

    @_answers
    def _fork_count(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> int:
        return self._call("fork_count", tenant, database, collection_id)["count"]

    @_answers
    def _get_indexing_status(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        told = self._call("indexing_status", tenant, database, collection_id)
        names = ("num_indexed_ops", "num_unindexed_ops", "total_ops", "op_indexing_progress")
        return IndexingStatus(**{name: told[name] for name in names})

    @_answers
    def _count(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        read_level: Any = "index_and_wal",
    ) -> int:
        level = getattr(read_level, "value", read_level)
        return self._call("count", tenant, database, collection_id, body={"read_level": level})

    @_answers
    def _peek(
        self,
        collection_id: UUID,
        n: int = 10,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        columns = ["embeddings", "metadatas", "documents"]
        return self._get(collection_id, limit=n, include=columns, tenant=tenant, database=database)

    @_answers
    @_told
    def _get(
        self,
        collection_id: UUID,
        ids: Any = None,
        where: Any = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: Any = None,
        include: Any = ("metadatas", "documents"),
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        asked = [one for one in include if one != "data"]
        body = {
            "ids": ids,
            "where": where,
            "where_document": where_document,
            "limit": limit,
            "offset": offset,
            "include": asked,
        }
        found = self._embedded.get((tenant, database, str(collection_id)), body)
        metadatas = _theirs(found["metadatas"])
        return {**found, "metadatas": metadatas, "data": None, "included": list(include)}

    @_told
    def _write(self, operation: str, names: Any, columns: dict[str, Any], embeddings: Any) -> bool:
        given = {name: column for name, column in columns.items() if column is not None}
        block = None if embeddings is None else records.vectors(embeddings)
        tenant, database, collection_id = names
        self._embedded.write((tenant, database, str(collection_id)), operation, given, block)
        return True

    @_answers
    def _add(
        self,
        ids: Any,
        collection_id: UUID,
        embeddings: Any,
        metadatas: Any = None,
        documents: Any = None,
        uris: Any = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        columns = {"ids": ids, "metadatas": metadatas, "documents": documents, "uris": uris}
        return self._write("add", (tenant, database, collection_id), columns, embeddings)

    @_answers
    def _update(
        self,
        collection_id: UUID,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        uris: Any = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        columns = {"ids": ids, "metadatas": metadatas, "documents": documents, "uris": uris}
        return self._write("update", (tenant, database, collection_id), columns, embeddings)

    @_answers
    def _upsert(
        self,
        collection_id: UUID,
        ids: Any,
        embeddings: Any,
        metadatas: Any = None,
        documents: Any = None,
        uris: Any = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        columns = {"ids": ids, "metadatas": metadatas, "documents": documents, "uris": uris}
        return self._write("upsert", (tenant, database, collection_id), columns, embeddings)

    @_answers
    @_told
    def _query(
        self,
        collection_id: UUID,
        query_embeddings: Any,
        ids: Any = None,
        n_results: int = 10,
        where: Any = None,
        where_document: Any = None,
        include: Any = ("metadatas", "documents", "distances"),
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        asked = [one for one in include if one != "data"]
        body = {
            "ids": ids,
            "where": where,
            "where_document": where_document,
            "n_results": n_results,
            "include": asked,
        }
        queries = records.vectors(query_embeddings, "query_embeddings")
        found = self._embedded.query((tenant, database, str(collection_id)), queries, body)
        answer: dict[str, Any] = {"ids": [one["ids"] for one in found], "data": None}
        for name in ("embeddings", "documents", "uris", "metadatas", "distances"):
            answer[name] = [one[name] for one in found] if name in asked else None
        for metadatas in answer["metadatas"] or ():
            _theirs(metadatas)
        answer["included"] = list(include)
        return answer

    @_answers
    def _search(
        self,
        collection_id: UUID,
        searches: Any,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        read_level: Any = "index_and_wal",
    ) -> Any:
        level = getattr(read_level, "value", read_level)
        body = {"searches": [one.to_dict() for one in searches], "read_level": level}
        return SearchResult(self._call("search", tenant, database, collection_id, body=body))

    @_answers
    def _delete(
        self,
        collection_id: UUID,
        ids: Any = None,
        where: Any = None,
        where_document: Any = None,
        limit: int | None = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        body = {"ids": ids, "where": where, "where_document": where_document, "limit": limit}
        answer = self._call("delete", tenant, database, collection_id, body=body)
        return {"deleted": answer["deleted"]}

    @_answers
    def attach_function(
        self,
        function_id: str,
        name: str,
        input_collection_id: UUID,
        output_collection: str,
        params: Any = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        body = {
            "name": name,
            "function_id": function_id,
            "output_collection": output_collection,
            "params": params,
        }
        told = self._call("attach_function", tenant, database, input_collection_id, body=body)
        function = told["attached_function"]
        place = (input_collection_id, output_collection, tenant, database)
        return self._attached(function, *place), told["created"]

    @_answers
    def get_attached_function(
        self,
        name: str,
        input_collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Any:
        told = self._call("get_attached_function", tenant, database, input_collection_id, name)
        function = told["attached_function"]
        return self._attached(function, input_collection_id, function["output_collection"], tenant, database)

    def _attached(
        self, told: dict[str, Any], input_id: UUID, output: str, tenant: str, database: str
    ) -> AttachedFunction:
        return AttachedFunction(
            client=self,
            id=UUID(told["id"]),
            name=told["name"],
            function_name=told["function_name"],
            input_collection_id=input_id,
            output_collection=output,
            params=None,
            tenant=tenant,
            database=database,
        )

    @_answers
    def detach_function(
        self,
        name: str,
        input_collection_id: UUID,
        delete_output: bool = False,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        body = {"delete_output": delete_output}
        self._call("detach_function", tenant, database, input_collection_id, name, body=body)
        return True
