"""A database behind a server, over HTTP: through its Unix socket where it is on this machine
(:mod:`vermilion.local`), to its port otherwise; records as Arrow streams where there are many of them or they
come with vectors, and both sides know these, everything else as JSON.

What must stay true: a connection carries one request at a time and goes back to the pool only after its
answer was read whole; a request is sent again only where the server cannot have begun it, or where
doing it twice changes nothing; who answers at a socket is the server that was named.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import functools
import http.client
import importlib.util
import json
import os
import select
import socket
import ssl as tls
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from vermilion import local, streams
from vermilion.errors import ChromaError, InvalidArgumentError, TransportError, of_answer
from vermilion.local import Answer, LocalConnection
from vermilion.records import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vermilion.transport import Names

UNSUPPORTED_MEDIA_TYPE = 415

#: Where the routes of records begin.
_ROOT = "/api/v2"

_DATABASE = "/tenants/{}/databases/{}"
_COLLECTION = _DATABASE + "/collections/{}"

#: Of each operation: the method and the path; of a GET the body is the query string.
ROUTES = {
    "reset": ("POST", "/reset"),
    "create_tenant": ("POST", "/tenants"),
    "get_tenant": ("GET", "/tenants/{}"),
    "create_database": ("POST", "/tenants/{}/databases"),
    "list_databases": ("GET", "/tenants/{}/databases"),
    "get_database": ("GET", _DATABASE),
    "delete_database": ("DELETE", _DATABASE),
    "create_collection": ("POST", _DATABASE + "/collections"),
    "list_collections": ("GET", _DATABASE + "/collections"),
    "count_collections": ("GET", _DATABASE + "/collections_count"),
    "get_collection": ("GET", _COLLECTION),
    "get_collection_by_id": ("GET", _DATABASE + "/collections/by-id/{}"),
    "update_collection": ("PUT", _COLLECTION),
    "delete_collection": ("DELETE", _COLLECTION),
    "fork": ("POST", _COLLECTION + "/fork"),
    "fork_count": ("GET", _COLLECTION + "/fork_count"),
    "attach_function": ("POST", _COLLECTION + "/functions/attach"),
    "get_attached_function": ("GET", _COLLECTION + "/functions/{}"),
    "detach_function": ("POST", _COLLECTION + "/attached_functions/{}/detach"),
    "indexing_status": ("GET", _COLLECTION + "/indexing_status"),
    "count": ("GET", _COLLECTION + "/count"),
    "delete": ("POST", _COLLECTION + "/delete"),
    "get": ("POST", _COLLECTION + "/get"),
    "query": ("POST", _COLLECTION + "/query"),
    "search": ("POST", _COLLECTION + "/search"),
    "add": ("POST", _COLLECTION + "/add"),
    "update": ("POST", _COLLECTION + "/update"),
    "upsert": ("POST", _COLLECTION + "/upsert"),
}

#: Operations that change nothing, so that they may be sent twice.
_READS = frozenset({"count", "get", "query", "search"})
_IDLE_MAX = 32
#: Records from which on Arrow takes less time than JSON, its own preparation included.
_ARROW_FROM = 64
#: Bytes of vectors from which on handing memory over takes less time than sending them.
_MEMORY_FROM = 128 << 10
#: Bytes of memory that idle connections may hold together, where it is more than one that does.
_HELD_MAX = 256 << 20
_TIMEOUT_SECONDS = 600.0
#: Bytes of a long answer that are read at once.
_PIECE_BYTES = 1 << 20
#: Ways to a server that can be asked for.
_WAYS = ("memory", "socket", "http", "json")


class Http:
    """A server at ``host``, which may be a host name or a whole address with scheme and path.

    Attributes:
        kind: ``memory``, ``socket`` or ``http``.
        reason: Why it is this one.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8000,
        ssl: bool = False,
        headers: dict[str, str] | None = None,
        ssl_verify: bool | str | None = None,
        form: str | None = None,
        way: str | None = None,
    ) -> None:
        if way not in (None, *_WAYS):
            raise ValueError(f"{way!r} is no way to a server: {', '.join(_WAYS)} and None are")
        if way == "json":
            form = "json"
        if form not in (None, "arrow", "json"):
            raise ValueError(f"{form!r} is no form of records: 'arrow', 'json' and None are")
        parts = urlsplit(host if "://" in host else f"//{host}")
        if parts.scheme not in ("", "http", "https") or not parts.hostname:
            raise ValueError(f"{host!r} is no host and no address of a server, such as http://host:8000")
        self.ssl = ssl or parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port or port
        path = parts.path.rstrip("/")
        self.prefix = path if path.endswith(_ROOT) else path + _ROOT
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{'https' if self.ssl else 'http'}://{shown}:{self.port}{path}"
        self._form = form or ("arrow" if importlib.util.find_spec("pyarrow") else "json")
        self._arrow_from = 0 if form == "arrow" else _ARROW_FROM
        why = "as asked" if form else "pyarrow is there" if self._form == "arrow" else "there is no pyarrow"
        self._forms = f"many records go as {self._form}: {why}"
        # Reading needs nothing but the native part of this package.
        self._reads_arrow = form != "json"
        self._way = way
        # Nothing is known before the first request; then it is a socket, or why there is none.
        self._socket: local.Socket | str | None = None
        self._packs = False
        self._finding = threading.Lock()
        self._tell("http", "no request was made yet")
        if way in ("http", "json"):
            self._tell("http", "as asked")
        if way == "json":
            self._socket = "as asked"
        self.headers = {
            "Content-Type": "application/json",
            "User-Agent": "vermilion-python",
            "Accept": "application/json",
            **(headers or {}),
        }
        self._context = _context(ssl_verify) if self.ssl else None
        self._idle: collections.deque[_Remote | LocalConnection] = collections.deque()
        self._process = os.getpid()
        self._max_batch_size: int | None = None

    def heartbeat(self) -> int:
        return int(self._exchange("GET", "/heartbeat", None, again=True)["nanosecond heartbeat"])

    def version(self) -> str:
        return str(self._exchange("GET", "/version", None, again=True))

    def max_batch_size(self) -> int:
        if self._max_batch_size is None:
            told = self._exchange("GET", "/pre-flight-checks", None, again=True)
            self._max_batch_size = int(told["max_batch_size"])
        return self._max_batch_size

    def identity(self) -> dict[str, Any]:
        return self._exchange("GET", "/auth/identity", None, again=True)

    def call(self, operation: str, *names: str, body: dict[str, Any] | None = None) -> Any:
        method, path = _route(operation, names)
        sent = None
        if method == "GET" and body:
            told = {name: value for name, value in body.items() if value is not None}
            path += "?" + urlencode(told) if told else ""
        elif method != "GET":
            sent = encode(body or {}).encode()
        again = method == "GET" or operation in _READS
        return self._exchange(method, path, sent, again)

    def ask(
        self, method: str, path: str, body: bytes | None, again: bool, form: dict[str, str] | None = None
    ) -> Any:
        """One request to any route of the server: what JSON says, or the bytes of another form.

        Args:
            method: The method.
            path: The path from the root of the server on, with its query string.
            body: The body, if there is one.
            again: Whether it may be sent twice.
            form: Headers.

        Raises:
            ChromaError: The server refused it, or was not reached.
        """
        return self._exchange(method, path, body, again, form, root="")

    def download(self, path: str, file: Any) -> None:
        """Writes the answer to a GET of any route to a file, piece by piece.

        Args:
            path: The path from the root of the server on, with its query string.
            file: What the answer is written to.

        Raises:
            ChromaError: The server refused it, was not reached, or broke off.
        """
        remote = self._remote()
        try:
            target = self.prefix.removesuffix(_ROOT) + path
            remote.download(target, self.headers, file)
        except (http.client.HTTPException, OSError) as error:
            raise TransportError(f"{self.url} broke off: {error}") from error
        finally:
            remote.close()

    def _tell(self, kind: str, why: str) -> None:
        self.kind = kind
        self.reason = f"a server was named: {self.url}; {why}; {self._forms}"

    def _sends_arrow(self, records: int) -> bool:
        return self._form == "arrow" and records >= self._arrow_from

    def write(
        self,
        names: Names,
        operation: str,
        columns: dict[str, Any],
        embeddings: NDArray[np.float32] | None,
        look: Callable[[], None] | None = None,
    ) -> None:
        if look:
            look()
        if self._sends_arrow(len(columns["ids"])):
            method, path = _route(operation, names)
            try:
                self._write_arrow(method, path, columns, embeddings)
                return
            except InvalidArgumentError as error:
                if error.status != UNSUPPORTED_MEDIA_TYPE or self._arrow_from == 0:
                    raise
            self._form = "json"
            self._forms = "it takes JSON only"
            self._tell(self.kind, "it was reached")
        body = dict(columns)
        if embeddings is not None:
            little = embeddings.astype("<f4", copy=False)
            body["embeddings"] = [base64.b64encode(row).decode() for row in little]
        self.call(operation, *names, body=body)

    def _write_arrow(
        self,
        method: str,
        path: str,
        columns: dict[str, Any],
        embeddings: NDArray[np.float32] | None,
    ) -> None:
        form = {"Content-Type": streams.MEDIA_TYPE}
        stream = streams.Stream(columns, embeddings)
        large = embeddings is not None and embeddings.nbytes >= _MEMORY_FROM
        if self._takes_memory() and (large or self._way == "memory"):
            try:
                self._exchange(method, path, None, False, form, stream)
                return
            except _NotHandedOver as error:
                # The socket went away, or there is no memory; nothing was sent.
                if self._way == "memory" and error.__cause__ is not None:
                    raise error.__cause__ from None
        self._exchange(method, path, stream.written(), False, form)

    def get(self, names: Names, body: dict[str, Any]) -> dict[str, Any]:
        counts = body.get("limit"), None if body.get("ids") is None else len(body["ids"])
        most = min((one for one in counts if one is not None), default=_ARROW_FROM)
        answer = self._fetch("get", names, body, most >= self._arrow_from)
        if isinstance(answer, bytes):
            from vermilion import _engine

            with self._reading():
                return _engine.read_fetched(answer)
        # The server tells what was asked for, which the collection itself knows.
        answer.pop("include", None)
        return {**answer, "embeddings": _block(answer["embeddings"]), **_metadata(answer)}

    def _fetch(self, operation: str, names: Names, body: dict[str, Any], pays: bool) -> Any:
        """The answer to ``get`` or ``query``: a stream as bytes where that ``pays`` or there are vectors, or JSON."""
        if not (self._reads_arrow and (pays or "embeddings" in body["include"])):
            return self.call(operation, *names, body=body)
        method, path = _route(operation, names)
        form = {"Accept": f"{streams.MEDIA_TYPE}, application/json;q=0.5"}
        return self._exchange(method, path, encode(body).encode(), True, form)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Says of a stream that cannot be read whose answer it is."""
        try:
            yield
        except ChromaError as error:
            raise TransportError(f"{self.url} did not answer: {error}") from error

    def query(
        self, names: Names, queries: NDArray[np.float32], body: dict[str, Any]
    ) -> list[dict[str, Any]]:
        self._find()
        if self._packs:
            little = queries.astype("<f4", copy=False)
            packed = [base64.b64encode(row).decode() for row in little]
            vectors: dict[str, Any] = {"query_embeddings": [], "packed_query_embeddings": packed}
        else:
            vectors = {"query_embeddings": queries.tolist()}
        # Without vectors both forms take as long, however many records there are.
        answer = self._fetch("query", names, {**body, **vectors}, self._arrow_from == 0)
        if isinstance(answer, bytes):
            from vermilion import _engine

            with self._reading():
                return _engine.read_nearest(answer, len(queries))
        columns = ("ids", "embeddings", "documents", "uris", "metadatas", "distances")
        found = []
        for number in range(len(queries)):
            one = {name: answer[name] and answer[name][number] for name in columns}
            found.append({**one, "embeddings": _block(one["embeddings"]), **_metadata(one)})
        return found

    def close(self) -> None:
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _find(self) -> None:
        """Finds out once how the server is reached best."""
        if self._socket is not None:
            return
        with self._finding:
            if self._socket is not None:
                return
            found = self._look()
            self._socket = found
            if isinstance(found, str):
                if self._way in ("memory", "socket"):
                    self._socket = None
                    raise TransportError(f"{self.url} cannot be reached by its {self._way}: {found}")
                self._tell("http", found)
            else:
                takes = found.memory and self._form == "arrow" and self._way != "socket"
                why = "as asked" if self._way else f"its socket is on this machine: {found.path}"
                if self._way == "memory" and not takes:
                    self._socket = None
                    missing = "it needs pyarrow here, and a server and a system that take sealed memory"
                    raise TransportError(f"{self.url} cannot be reached by its memory: {missing}")
                self._tell("memory" if takes else "socket", why)

    def _look(self) -> local.Socket | str:
        """The socket of the server, checked, or why it is not used."""
        path = f"{self.prefix.removesuffix(_ROOT)}/local-socket"
        remote = self._remote()
        try:
            answer = remote.exchange("GET", path, None, self.headers)
        except (http.client.HTTPException, OSError) as error:
            remote.close()
            raise TransportError(f"{self.url} did not answer: {error}") from error
        self._keep(remote, answer)
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        # What tells of a socket also takes packed vectors.
        self._packs = answer.status == 200 and isinstance(told, dict) and "nonce" in told
        if self._way == "http":
            return "as asked"
        if not self._packs:
            return "it tells of no socket"
        if not _is_near(self.host):
            return "it is on another machine"
        found = local.found(told)
        if isinstance(found, local.Socket):
            try:
                self._keep(self._greet(found), None)
            except (http.client.HTTPException, OSError) as error:
                return f"its socket {found.path} does not let this process in: {error}"
        return found

    def _greet(self, found: local.Socket) -> LocalConnection:
        """A connection to the server that told of a socket, and to no other."""
        connection = LocalConnection(found.path, _TIMEOUT_SECONDS)
        try:
            answer = connection.exchange("GET", "/local-socket", None, self.headers)
            if answer.status != 200 or json.loads(answer.body).get("nonce") != found.nonce:
                raise ConnectionRefusedError("another server listens there")
        except ValueError as error:
            connection.close()
            raise ConnectionRefusedError("no server of records listens there") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _takes_memory(self) -> bool:
        self._find()
        return self.kind == "memory"

    def _exchange(
        self,
        method: str,
        path: str,
        body: Any,
        again: bool,
        form: dict[str, str] | None = None,
        stream: streams.Stream | None = None,
        root: str = _ROOT,
    ) -> Any:
        """One request and its answer; ``again`` says that it may be sent twice, ``form`` has headers,
        ``stream`` is a body to hand over in memory, and ``root`` is what the path begins with on every server.

        Raises:
            _NotHandedOver: The body cannot be handed over in memory; nothing was sent.
        """
        headers = {**self.headers, **(form or {})}
        while True:
            connection, is_new = self._connection()
            if stream is not None:
                self._put(stream, connection)
            try:
                if isinstance(connection, LocalConnection):
                    handed = None if stream is None else stream.length
                    answer = connection.exchange(method, root + path, body, headers, handed)
                else:
                    target = self.prefix.removesuffix(_ROOT) + root + path
                    answer = connection.exchange(method, target, body, headers)
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                # A server closes connections that were idle; that says nothing of this request, which
                # it then never read.
                closed = isinstance(error, (http.client.RemoteDisconnected, ConnectionError))
                if not is_new and closed and (again or body is None and stream is None):
                    continue
                raise TransportError(f"{self.url} did not answer: {error}") from error
            self._keep(connection, answer)
            plain = not root and answer.kind != "application/json"
            if answer.status < 300 and (plain or answer.kind == streams.MEDIA_TYPE):
                return answer.body
            return read(answer.status, answer.body)

    def _put(self, stream: streams.Stream, connection: _Remote | LocalConnection) -> None:
        """Writes ``stream`` to the memory of ``connection``, or says that it cannot be."""
        if not isinstance(connection, LocalConnection):
            self._idle.append(connection)
            raise _NotHandedOver
        try:
            connection.put(stream)
        except OSError as error:
            connection.close()
            raise _NotHandedOver from error

    def _keep(self, connection: _Remote | LocalConnection, answer: Answer | None) -> None:
        """Keeps a connection for the next request, after ``answer`` was read from it."""
        others = sum(one.held for one in list(self._idle)) if connection.held else 0
        crowded = others and others + connection.held > _HELD_MAX
        if answer is not None and answer.closes or crowded or len(self._idle) >= _IDLE_MAX:
            connection.close()
        else:
            self._idle.append(connection)

    def _connection(self) -> tuple[_Remote | LocalConnection, bool]:
        """A connection, and whether it is new."""
        if self._process != os.getpid():
            # Connections of the process that this one was forked from stay that one's, and its memory too.
            self.close()
            self._process = os.getpid()
        for _ in range(2):
            self._find()
            found = self._socket
            while self._idle:
                try:
                    idle = self._idle.pop()
                except IndexError:
                    break
                # What can be read now is the end: nobody asked anything on this connection.
                ended = idle.sock is None or select.select([idle.sock], [], [], 0)[0]
                if not ended and idle.is_local == isinstance(found, local.Socket):
                    return idle, False
                idle.close()
            if not isinstance(found, local.Socket):
                break
            try:
                return self._greet(found), True
            except (http.client.HTTPException, OSError):
                # The server stopped, or another one listens there: everything is found out anew.
                with self._finding:
                    if self._socket is found:
                        self._socket = None
        return self._remote(), True

    def _remote(self) -> _Remote:
        try:
            return _Remote(self.host, self.port, self._context)
        except OSError as error:
            raise TransportError(f"{self.url} did not answer: {error}") from error


@functools.lru_cache(maxsize=1024)
def _route(operation: str, names: tuple[str, ...]) -> tuple[str, str]:
    """The method and the path of an operation on what has these names."""
    method, path = ROUTES[operation]
    return method, path.format(*(quote(name, safe="") for name in names))


class _NotHandedOver(Exception):
    """A body cannot be handed over in memory; why not is its cause, but where the socket of the server is gone."""


class _Remote:
    """HTTP to a port, one request at a time.

    Raises:
        OSError: Nobody listens there.
    """

    is_local = False
    #: It has no memory.
    held = 0

    def __init__(self, host: str, port: int, context: tls.SSLContext | None) -> None:
        if context is None:
            self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        else:
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=_TIMEOUT_SECONDS, context=context
            )
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def sock(self) -> socket.socket | None:
        return self._connection.sock

    def exchange(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        """Sends a request and reads its answer."""
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        text = response.read()
        kind = response.headers.get_content_type()
        return Answer(response.status, kind, text, bool(response.will_close))

    def download(self, path: str, headers: dict[str, str], file: Any) -> None:
        """Writes the answer to a GET to a file."""
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        if response.status >= 300:
            read(response.status, response.read())
        while piece := response.read(_PIECE_BYTES):
            file.write(piece)
        # A connection that ends early looks like an end where the length was told.
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)

    def close(self) -> None:
        self._connection.close()


def _is_near(host: str) -> bool:
    """Whether a host is this machine by its very name."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(verify: bool | str | None) -> tls.SSLContext:
    context = tls.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = tls.CERT_NONE
    return context


def read(status: int, text: bytes) -> Any:
    """What an answer of JSON says, or the exception that it is."""
    if status < 300:
        return json.loads(text)
    try:
        told = json.loads(text)
        name, message = str(told.get("error", "")), str(told.get("message", text.decode()))
    except (ValueError, AttributeError):
        told, name, message = {}, "", text.decode(errors="replace").strip()
    if not message:
        raise ChromaError(f"The server answered {status} without a reason: is it one of this API?")
    error = of_answer(status, name, message)
    error.status = status
    if "hint" in told:
        error.reason, error.field, error.row, error.hint = name, told["field"], told["row"], told["hint"]
    raise error


def _block(vectors: list[list[float]] | None) -> NDArray[np.float32] | None:
    if vectors is None:
        return None
    import numpy as np

    return np.array(vectors, np.float32).reshape(len(vectors), -1 if vectors else 0)


def _metadata(answer: dict[str, Any]) -> dict[str, Any]:
    """The column of metadata with its sparse vectors as such."""
    from vermilion.types import SparseVector

    for members in answer["metadatas"] or ():
        for key, value in (members or {}).items():
            if isinstance(value, dict):
                members[key] = SparseVector.from_dict(value)
    return {"metadatas": answer["metadatas"]}
