"""A database behind a server, over HTTP: records as Arrow streams where there are many of them and both
sides know these, everything else as JSON.

What must stay true: a connection carries one request at a time and goes back to the pool only after its
answer was read whole; a request is sent again only where the server cannot have begun it, or where
doing it twice changes nothing.
"""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import queue
import select
import socket
import ssl as tls
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from vermilion import streams
from vermilion.errors import ChromaError, InvalidArgumentError, TransportError, of_answer
from vermilion.records import encode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vermilion.transport import Names

UNSUPPORTED_MEDIA_TYPE = 415

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
_TIMEOUT_SECONDS = 600.0


class Http:
    """A server at ``host``, which may be a host name or a whole address with scheme and path."""

    kind = "http"

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8000,
        ssl: bool = False,
        headers: dict[str, str] | None = None,
        ssl_verify: bool | str | None = None,
        form: str | None = None,
    ) -> None:
        if form not in (None, "arrow", "json"):
            raise ValueError(f"{form!r} is no form of records: 'arrow', 'json' and None are")
        parts = urlsplit(host if "://" in host else f"//{host}")
        if parts.scheme not in ("", "http", "https") or not parts.hostname:
            raise ValueError(f"{host!r} is no host and no address of a server, such as http://host:8000")
        self.ssl = ssl or parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port or port
        path = parts.path.rstrip("/")
        self.prefix = path if path.endswith("/api/v2") else path + "/api/v2"
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{'https' if self.ssl else 'http'}://{shown}:{self.port}{path}"
        self._form = form or ("arrow" if importlib.util.find_spec("pyarrow") else "json")
        self._arrow_from = 0 if form == "arrow" else _ARROW_FROM
        why = "as asked" if form else "pyarrow is there" if self._form == "arrow" else "there is no pyarrow"
        self.reason = f"a server was named: {self.url}; many records go as {self._form}: {why}"
        self.headers = {
            "Content-Type": "application/json",
            "User-Agent": "vermilion-python",
            "Accept": "application/json",
            **(headers or {}),
        }
        self._context = _context(ssl_verify) if self.ssl else None
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
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
        method, path = ROUTES[operation]
        path = path.format(*(quote(name, safe="") for name in names))
        sent = None
        if method == "GET" and body:
            told = {name: value for name, value in body.items() if value is not None}
            path += "?" + urlencode(told) if told else ""
        elif method != "GET":
            sent = encode(body or {}).encode()
        again = method == "GET" or operation in _READS
        return self._exchange(method, path, sent, again)

    def _sends_arrow(self, records: int) -> bool:
        return self._form == "arrow" and records >= self._arrow_from

    def write(
        self,
        names: Names,
        operation: str,
        columns: dict[str, Any],
        embeddings: NDArray[np.float32] | None,
    ) -> None:
        if self._sends_arrow(len(columns["ids"])):
            method, path = ROUTES[operation]
            path = path.format(*(quote(name, safe="") for name in names))
            form = {"Content-Type": streams.MEDIA_TYPE}
            try:
                self._exchange(method, path, streams.write(columns, embeddings), False, form)
                return
            except InvalidArgumentError as error:
                if error.status != UNSUPPORTED_MEDIA_TYPE or self._arrow_from == 0:
                    raise
            self._form = "json"
            self.reason = f"a server was named: {self.url}; it takes JSON only"
        body = dict(columns)
        if embeddings is not None:
            little = embeddings.astype("<f4", copy=False)
            body["embeddings"] = [base64.b64encode(row).decode() for row in little]
        self.call(operation, *names, body=body)

    def get(self, names: Names, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._fetch(names, body)
        if isinstance(answer, bytes):
            return streams.read(answer, body["include"])
        return {**answer, "embeddings": _block(answer["embeddings"]), **_metadata(answer)}

    def _fetch(self, names: Names, body: dict[str, Any]) -> Any:
        """The answer to ``get``: a stream as bytes, or JSON."""
        counts = body.get("limit"), None if body.get("ids") is None else len(body["ids"])
        most = min((one for one in counts if one is not None), default=_ARROW_FROM)
        if not self._sends_arrow(most):
            return self.call("get", *names, body=body)
        method, path = ROUTES["get"]
        path = path.format(*(quote(name, safe="") for name in names))
        form = {"Accept": f"{streams.MEDIA_TYPE}, application/json;q=0.5"}
        return self._exchange(method, path, encode(body).encode(), True, form)

    def query(
        self, names: Names, queries: NDArray[np.float32], body: dict[str, Any]
    ) -> list[dict[str, Any]]:
        answer = self.call("query", *names, body={**body, "query_embeddings": queries.tolist()})
        columns = ("ids", "embeddings", "documents", "uris", "metadatas", "distances")
        found = []
        for number in range(len(queries)):
            one = {name: answer[name] and answer[name][number] for name in columns}
            found.append({**one, "embeddings": _block(one["embeddings"]), **_metadata(one)})
        return found

    def close(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _exchange(
        self, method: str, path: str, body: Any, again: bool, form: dict[str, str] | None = None
    ) -> Any:
        """One request and its answer; ``again`` says that it may be sent twice, ``form`` has headers."""
        headers = {**self.headers, **(form or {})}
        while True:
            connection, is_new = self._connection()
            try:
                if is_new:
                    connection.connect()
                    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.request(method, self.prefix + path, body=body, headers=headers)
                response = connection.getresponse()
                text = response.read()
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                # A server closes connections that were idle; that says nothing of this request, which
                # it then never read.
                closed = isinstance(error, (http.client.RemoteDisconnected, ConnectionError))
                if not is_new and closed and (again or body is None):
                    continue
                raise TransportError(f"{self.url} did not answer: {error}") from error
            if response.will_close or self._idle.qsize() >= _IDLE_MAX:
                connection.close()
            else:
                self._idle.put(connection)
            if response.status < 300 and response.headers.get_content_type() == streams.MEDIA_TYPE:
                return text
            return _read(response.status, text)

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        while not self._idle.empty():
            try:
                found = self._idle.get_nowait()
            except queue.Empty:
                break
            # What can be read now is the end: nobody asked anything on this connection.
            if found.sock is not None and not select.select([found.sock], [], [], 0)[0]:
                return found, False
            found.close()
        if self._context is not None:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=_TIMEOUT_SECONDS, context=self._context
            ), True
        return http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_SECONDS), True


def _context(verify: bool | str | None) -> tls.SSLContext:
    context = tls.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = tls.CERT_NONE
    return context


def _read(status: int, text: bytes) -> Any:
    if status < 300:
        return json.loads(text)
    try:
        told = json.loads(text)
        name, message = str(told.get("error", "")), str(told.get("message", text.decode()))
    except (ValueError, AttributeError):
        name, message = "", text.decode(errors="replace").strip()
    if not message:
        raise ChromaError(f"The server answered {status} without a reason: is it one of this API?")
    error = of_answer(status, name, message)
    error.status = status
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
