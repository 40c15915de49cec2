"""Clients: how a program gets to its collections."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vermilion import embedding_functions, records
from vermilion.collection import Collection
from vermilion.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from vermilion.errors import (
    AuthorizationError,
    ChromaAuthError,
    InvalidArgumentError,
    NotFoundError,
    PlaceNotFoundError,
    TransportError,
    UnreachableError,
)
from vermilion.metadata import check_collection
from vermilion.transport import Embedded, Transport
from vermilion.types import Database, Tenant, UserIdentity

if TYPE_CHECKING:
    from vermilion.aio import AsyncClientAPI
    from vermilion.schema import Schema
    from vermilion.types import CollectionMetadata

_DEFAULT = embedding_functions.DefaultEmbeddingFunction()
_NO_SERVER = "Could not connect to a Chroma server. Are you sure it is running? "


class AdminAPI:
    """Tenants and databases."""

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self._transport = transport
        self._settings = settings

    @property
    def transport(self) -> str:
        """How requests reach the database, and why that way."""
        return f"{self._transport.kind}: {self._transport.reason}"

    def create_tenant(self, name: str) -> None:
        """Makes a tenant; its name has three characters at least."""
        self._transport.call("create_tenant", body={"name": records.text(name, "name")})

    def get_tenant(self, name: str) -> Tenant:
        """A tenant.

        Raises:
            NotFoundError: There is none of this name.
        """
        return Tenant(self._transport.call("get_tenant", records.text(name, "tenant")))

    def create_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Makes a database."""
        body = {"name": records.text(name, "name")}
        self._transport.call("create_database", records.text(tenant, "tenant"), body=body)

    def get_database(self, name: str, tenant: str = DEFAULT_TENANT) -> Database:
        """A database.

        Raises:
            NotFoundError: There is none of this name.
        """
        names = records.text(tenant, "tenant"), records.text(name, "database")
        return _database(self._transport.call("get_database", *names))

    def delete_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Deletes a database with all its collections."""
        names = records.text(tenant, "tenant"), records.text(name, "database")
        self._transport.call("delete_database", *names)

    def list_databases(
        self,
        limit: int | None = None,
        offset: int | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Sequence[Database]:
        """The databases of a tenant, by name."""
        records.text(tenant, "tenant")
        found = self._transport.call("list_databases", tenant, body=_page(limit, offset))
        return [_database(one) for one in found]

    def close(self) -> None:
        """Lets go of the database; one in this process closes with its last client."""
        transport, self._transport = self._transport, _Closed()
        transport.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class ClientAPI(AdminAPI):
    """A client of one database; made by the functions of this module.

    Attributes:
        tenant: The tenant of the database.
        database: The database.
    """

    def __init__(
        self, transport: Transport, settings: Settings, tenant: str, database: str
    ) -> None:
        super().__init__(transport, settings)
        try:
            self._adopt_identity(tenant, database)
            self._validate()
        except TransportError as error:
            transport.close()
            # Without a cause the server is there, but not by the way that was asked for.
            told = "" if error.__cause__ is None else _NO_SERVER
            raise UnreachableError(f"{told}{error}") from error
        except BaseException:
            transport.close()
            raise

    def _adopt_identity(self, tenant: str, database: str) -> None:
        """Takes what the server says this client may reach, where the program named nothing else."""
        # As chromadb does, so that numbers can name them too.
        tenant, database = str(tenant), str(database)
        self.tenant, self.database = tenant, database
        identity = self._transport.identity()
        if tenant == DEFAULT_TENANT and identity.get("tenant") not in (None, "*"):
            self.tenant = identity["tenant"]
        databases = identity.get("databases") or []
        if database == DEFAULT_DATABASE and len(databases) == 1 and databases != ["*"]:
            self.database = databases[0]

    def _validate(self) -> None:
        try:
            self.get_tenant(self.tenant)
        except NotFoundError as error:
            raise PlaceNotFoundError(
                f"Could not connect to tenant {self.tenant}. Are you sure it exists?"
            ) from error
        try:
            self.get_database(self.database, self.tenant)
        except NotFoundError as error:
            raise PlaceNotFoundError(
                f"Could not connect to database {self.database} for tenant {self.tenant}. Are you sure "
                f"it exists?"
            ) from error

    def set_tenant(self, tenant: str, database: str = DEFAULT_DATABASE) -> None:
        """Goes to a database of another tenant.

        Raises:
            PlaceNotFoundError: There is none; the client stays where it is. A ``NotFoundError``, and also a
                ``ValueError``.
        """
        before = self.tenant, self.database
        self.tenant, self.database = tenant, database
        try:
            self._validate()
        except BaseException:
            self.tenant, self.database = before
            raise

    def set_database(self, database: str) -> None:
        """Goes to another database of the tenant. Errors as of :meth:`set_tenant`."""
        self.set_tenant(self.tenant, database)

    def heartbeat(self) -> int:
        """Nanoseconds since 1970 by the clock of the database."""
        return self._transport.heartbeat()

    def get_version(self) -> str:
        """The version of the database."""
        return self._transport.version()

    def get_settings(self) -> Settings:
        """The settings that the client was made with."""
        return self._settings

    def get_max_batch_size(self) -> int:
        """Records in one request at most."""
        return self._transport.max_batch_size()

    def get_user_identity(self) -> UserIdentity:
        """Who the server takes this client for."""
        told = {name: value for name, value in self._transport.identity().items() if value is not None}
        if self._transport.kind == "in process":
            told = {"tenant": DEFAULT_TENANT, "databases": [DEFAULT_DATABASE], **told}
        return UserIdentity(**told)

    def reset(self) -> bool:
        """Deletes everything: all tenants, databases, collections and records.

        Raises:
            AuthorizationError: The setting ``allow_reset`` is off.
        """
        if self._transport.kind == "in process" and not self._settings.allow_reset:
            raise AuthorizationError(
                "Resetting is not allowed by this configuration (to enable it, set `allow_reset` to "
                "`True` in your Settings() or include `ALLOW_RESET=TRUE` in your environment variables)"
            )
        self._transport.call("reset")
        return True

    def list_collections(
        self, limit: int | None = None, offset: int | None = None
    ) -> Sequence[Collection]:
        """The collections of the database, by id."""
        page = _page(limit, offset)
        found = self._transport.call("list_collections", self.tenant, self.database, body=page)
        return [self._collection(model) for model in found]

    def count_collections(self) -> int:
        """How many collections the database has."""
        return self._transport.call("count_collections", self.tenant, self.database)

    def create_collection(
        self,
        name: str,
        schema: Schema | None = None,
        configuration: dict[str, Any] | None = None,
        metadata: CollectionMetadata | None = None,
        embedding_function: Any = _DEFAULT,
        data_loader: Any = None,
        get_or_create: bool = False,
    ) -> Collection:
        """Makes a collection.

        Args:
            name: 3 to 512 characters of ``[a-zA-Z0-9._-]``, a letter or digit first and last.
            schema: What is indexed; instead of a configuration. Where it names an embedding function no other may be
                given, and None leaves it that one.
            configuration: Settings: ``{"hnsw": {"space": "cosine"}}`` compares vectors by their angle, ``ip`` by the
                inner product, ``l2`` by their distance. Where none is named it is the ``default_space()`` of the
                embedding function, and ``l2`` without one; one that the function does not support is a
                ``UserWarning``.
            metadata: Strings, numbers, booleans.
            embedding_function: What makes vectors of documents; None for nothing.
            data_loader: What loads the data of uris.
            get_or_create: Whether a collection of this name is answered as it is.

        Raises:
            UniqueConstraintError: The name is taken.
            InvalidArgumentError: An argument is wrong. Also a ``ValueError``.
        """
        made, function = self._create(
            name, schema, configuration, metadata, embedding_function, get_or_create
        )
        return self._collection(made, function, data_loader)

    def _create(
        self,
        name: str,
        schema: Schema | None,
        configuration: dict[str, Any] | None,
        metadata: CollectionMetadata | None,
        function: Any,
        get_or_create: bool,
    ) -> tuple[dict[str, Any], Any]:
        """The collection as the database tells it, and the function that was asked for."""
        configured = kept = (configuration or {}).get("embedding_function")
        if configured is not None:
            if function is not None:
                embedding_functions.check_one(function, configured)
            if function is None or embedding_functions.name_of(function) == embedding_functions.DEFAULT:
                function = configured
        else:
            kept = function
        for one in (function, kept):
            if one is not None and one is not _DEFAULT:
                embedding_functions.check(one)
        check_collection(metadata)
        records.text(name, "name")
        if schema is None and metadata is not None and not metadata:
            raise InvalidArgumentError("Expected metadata to be a non-empty dict, got {}")
        body = {"name": name, "metadata": metadata, "get_or_create": get_or_create}
        if schema is not None:
            if _names_function(schema):
                _check_schema(schema, kept)
                if function is None or function is _DEFAULT:
                    function = schema.embedding_function
            body["schema"] = schema.described(None if configuration else kept)
        if schema is None or configuration:
            body["configuration"] = _configuration(configuration or {}, kept, metadata or {})
        made = self._transport.call("create_collection", self.tenant, self.database, body=body)
        return made, function

    def get_or_create_collection(
        self,
        name: str,
        schema: Schema | None = None,
        configuration: dict[str, Any] | None = None,
        metadata: CollectionMetadata | None = None,
        embedding_function: Any = _DEFAULT,
        data_loader: Any = None,
    ) -> Collection:
        """The collection of this name as it is, or a new one. As :meth:`create_collection`.

        Raises:
            InvalidArgumentError: An argument is wrong, or the collection was made with an embedding function
                of another name than the one that is given. Also a ``ValueError``.
        """
        made, function = self._create(name, schema, configuration, metadata, embedding_function, True)
        described = made["configuration_json"].get("embedding_function")
        if embedding_function is not None:
            embedding_functions.check_same(embedding_function, described)
        known = (described or {}).get("name")
        if function is not None and known not in (None, embedding_functions.name_of(function)):
            # What a configuration or a schema names is for a new collection; this one has its own.
            function = _DEFAULT
        return self._collection(made, function, data_loader)

    def get_collection(
        self,
        name: str | uuid.UUID,
        embedding_function: Any = _DEFAULT,
        data_loader: Any = None,
    ) -> Collection:
        """The collection of this name.

        Args:
            name: The name, or the id as a UUID.
            embedding_function: What makes vectors of documents; the one that the collection was made
                with where not given, or None, and known.
            data_loader: What loads the data of uris.

        Raises:
            NotFoundError: There is none.
            InvalidArgumentError: The collection was made with an embedding function of another name. Also a
                ``ValueError``.
        """
        if isinstance(name, uuid.UUID):
            return self.get_collection_by_id(name, embedding_function, data_loader)
        names = self.tenant, self.database, records.text(name, "name")
        return self._found(self._transport.call("get_collection", *names), embedding_function, data_loader)

    def get_collection_by_id(
        self, id: uuid.UUID | str, embedding_function: Any = _DEFAULT, data_loader: Any = None
    ) -> Collection:
        """The collection with this id. As :meth:`get_collection`."""
        names = self.tenant, self.database, str(id)
        found = self._transport.call("get_collection_by_id", *names)
        return self._found(found, embedding_function, data_loader)

    def delete_collection(self, name: str) -> None:
        """Deletes the collection of this name with all its records.

        Raises:
            NotFoundError: There is none.
        """
        names = self.tenant, self.database, records.text(name, "name")
        self._transport.call("delete_collection", *names)

    def _found(self, model: dict[str, Any], function: Any, data_loader: Any) -> Collection:
        """A collection that was there, with a function that must be the one that it was made with."""
        if function is not None and function is not _DEFAULT:
            embedding_functions.check(function)
            described = model["configuration_json"].get("embedding_function")
            embedding_functions.check_same(function, described)
        return self._collection(model, function, data_loader)

    def _collection(
        self, model: dict[str, Any], function: Any = _DEFAULT, data_loader: Any = None
    ) -> Collection:
        described = model["configuration_json"].get("embedding_function")
        if function is not None and embedding_functions.gives_way(function, described):
            function = _DEFAULT
        if function is _DEFAULT:
            function = embedding_functions.of_collection(described)
            if function is None and (not described or described == embedding_functions.UNKNOWN):
                function = _DEFAULT
        elif function is not None:
            embedding_functions.check(function)
        return Collection(self, model, function, data_loader)

    @staticmethod
    def clear_system_cache() -> None:
        """Closes every database that is open in this process."""
        Embedded.close_all()


class _Closed:
    """The transport of a client that was closed."""

    kind = "none"
    reason = "the client was closed"

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("This client was closed; make another")

    def close(self) -> None:
        """Nothing: it is closed."""


def _check_schema(schema: Schema, function: Any) -> None:
    """Refuses a function beside that of a schema, as chromadb does; the default one gives way.

    Raises:
        InvalidArgumentError: Both name one.
    """
    given = function is not None and embedding_functions.name_of(function) != embedding_functions.DEFAULT
    if given and schema.embedding_function is not None:
        raise InvalidArgumentError(
            "Failed to reconcile schema: Cannot set both collection config and schema simultaneously; the schema "
            "names an embedding function, leave out the other one"
        )


def _names_function(schema: Schema) -> bool:
    from vermilion.schema import _UNSET

    return schema.embedding_function is not _UNSET


def _configuration(
    configuration: dict[str, Any], function: Any, metadata: CollectionMetadata
) -> dict[str, Any]:
    """A configuration as it is in a request, with the space of the function where nothing else names one."""
    described = embedding_functions.describe(function)
    if described is None and configuration:
        # As chromadb keeps it; only a collection without any settings of its own has none.
        described = dict(embedding_functions.UNKNOWN)
    made = {**configuration, "embedding_function": described}
    indexes = [name for name in ("hnsw", "spann") if configuration.get(name) is not None]
    if function is None:
        return made
    for name in indexes:
        if isinstance(made[name], dict):
            made[name] = embedding_functions.with_space(function, made[name])
    if not indexes:
        told = metadata.get("hnsw:space")
        asked = embedding_functions.with_space(function, {} if told is None else {"space": told})
        # What the database has without being asked is left to it: settings in metadata count beside it.
        if told is None and asked.get("space") not in (None, "l2"):
            made["hnsw"] = asked
    return made


def _page(limit: Any, offset: Any) -> dict[str, int | None]:
    return {"limit": records.whole(limit, "limit"), "offset": records.whole(offset, "offset")}


def _database(plain: dict[str, Any]) -> Database:
    return Database({**plain, "id": uuid.UUID(plain["id"])})


def Client(
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """A client as the settings say: in memory, in a folder (``is_persistent``), or of a server
    (``chroma_server_host``)."""
    settings = settings or Settings()
    return ClientAPI(_transport(settings), settings, tenant, database)


def _transport(settings: Settings) -> Transport:
    if settings.is_persistent:
        return Embedded.at(settings.persist_directory, settings)
    if settings.chroma_server_host:
        from vermilion.http import Http

        return Http(
            settings.chroma_server_host,
            int(settings.chroma_server_http_port or 8000),
            bool(settings.chroma_server_ssl_enabled),
            {**_credentials(settings), **(settings.chroma_server_headers or {})},
            settings.chroma_server_ssl_verify,
            settings.record_form,
            settings.server_transport,
        )
    return Embedded.at(None, settings)


def _credentials(settings: Settings) -> dict[str, str]:
    provider = str(settings.chroma_client_auth_provider or "")
    secret = settings.chroma_client_auth_credentials
    if not provider:
        return {}
    if not secret:
        raise ChromaAuthError("chroma_client_auth_provider needs chroma_client_auth_credentials")
    if "Basic" in provider:
        import base64

        return {"Authorization": f"Basic {base64.b64encode(str(secret).encode()).decode()}"}
    header = getattr(settings.chroma_auth_token_transport_header, "value", None)
    header = str(header or settings.chroma_auth_token_transport_header or "Authorization")
    return {header: f"Bearer {secret}" if header == "Authorization" else str(secret)}


def EphemeralClient(
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """A client of a database in memory, which all such clients of a program share; it is gone with
    the last of them."""
    settings = settings or Settings()
    return ClientAPI(Embedded.at(None, settings), settings, tenant, database)


def PersistentClient(
    path: str | os.PathLike[str] = "./chroma",
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """A client of the database in the folder ``path``, made where it is not there.

    What was written is on the disk when a call returns. A folder is open in one process at a time.

    Raises:
        ConflictError: Another process has the folder open.
        InvalidArgumentError: This process has it open with other settings, or it cannot be made or written.
        ChromaError: The folder holds data of Chroma, or cannot be opened.
    """
    place = os.fspath(path)
    settings = (settings or Settings()).changed(is_persistent=True, persist_directory=place)
    return ClientAPI(Embedded.at(place, settings), settings, tenant, database)


def HttpClient(
    host: str = "localhost",
    port: int = 8000,
    ssl: bool = False,
    headers: dict[str, str] | None = None,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    transport: str | None = None,
) -> ClientAPI:
    """A client of a server.

    Args:
        host: A host name, or a whole address such as ``https://host:8000/path``.
        port: The port, where the address has none.
        ssl: Whether to speak TLS.
        headers: Sent with every request.
        settings: More, such as credentials.
        tenant: The tenant.
        database: The database.
        transport: The way that requests go: ``memory``, ``socket``, ``http`` or ``json``, as the setting
            ``server_transport``; the fastest that there is without it.

    Raises:
        UnreachableError: The server was not reached, or not in the way that was asked for. Also a
            ``TransportError``, a ``ConnectionError`` and a ``ValueError``.
    """
    settings = settings or Settings()
    if transport is not None:
        settings = settings.changed(server_transport=transport)
    settings = settings.changed(
        is_persistent=False,
        chroma_server_host=host,
        chroma_server_http_port=port,
        chroma_server_ssl_enabled=ssl,
        chroma_server_headers=headers,
    )
    return Client(settings, tenant, database)


async def AsyncHttpClient(
    host: str = "localhost",
    port: int = 8000,
    ssl: bool = False,
    headers: dict[str, str] | None = None,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    transport: str | None = None,
) -> AsyncClientAPI:
    """The same, to be awaited: so are all methods of the client and of its collections."""
    import asyncio

    from vermilion.aio import AsyncClientAPI

    made = await asyncio.to_thread(
        HttpClient, host, port, ssl, headers, settings, tenant, database, transport
    )
    return AsyncClientAPI(made)


def CloudClient(*arguments: Any, **named: Any) -> ClientAPI:
    """Chroma's cloud is not offered: this function is here to say so.

    Raises:
        InvalidArgumentError: Always. Also a ``ValueError``.
    """
    raise InvalidArgumentError(
        "Clients of Chroma Cloud are not part of this package: use HttpClient(host, port, ssl=True, "
        "headers={'Authorization': 'Bearer KEY'}) with a server of your own, which `vermilion serve` starts, or "
        "PersistentClient(path)"
    )


def AdminClient(settings: Settings | None = None) -> AdminAPI:
    """A client for tenants and databases, where the settings say."""
    settings = settings or Settings()
    return AdminAPI(_transport(settings), settings)
