"""How the calls of curation reach a server: with the address, the keys and the database of a client.

What must stay true: whatever is sent a second time changes nothing by it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from vermilion.client import ClientAPI, HttpClient
from vermilion.config import DEFAULT_DATABASE, DEFAULT_TENANT
from vermilion.curation.answers import Answer, Assessments, Listed, Saved
from vermilion.curation.asking import said
from vermilion.errors import InvalidArgumentError, RateLimitError, TransportError
from vermilion.http import Http
from vermilion.records import encode
from vermilion.transport import Embedded, Transport

if TYPE_CHECKING:
    from vermilion.curation.lease import Lease
    from vermilion.curation.session import Session
    from vermilion.curation.space import Space

#: The space of the calls with the old names, where none is named.
DEFAULT_SPACE = "default_scope"
#: Headers of another client that belong to its requests and not to its user.
_ITS_OWN = frozenset(
    "accept accept-encoding connection content-length content-type host user-agent".split()
)
#: Embedding sets of a page.
_SETS = 1000
#: Seconds between the tries of a request that may be repeated.
_WAITS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)

Result = TypeVar("Result")


def patiently(ask: Callable[[], Result]) -> Result:
    """What ``ask`` answers, tried again while the server is busy or not there; it must be repeatable."""
    for wait in _WAITS:
        try:
            return ask()
        except (RateLimitError, TransportError) as error:
            if str(error).startswith("Quota exceeded"):
                raise
            time.sleep(wait)
    return ask()


class Connection:
    """The routes of curation of one database, in this process or of a server."""

    def __init__(self, way: Transport, tenant: str, database: str) -> None:
        self._way = way
        self.tenant, self.database = tenant, database
        names = quote(tenant, safe=""), quote(database, safe="")
        self._root = "/curation/v1/tenants/{}/databases/{}".format(*names)

    @property
    def url(self) -> str:
        """The address of the server, or where the database is in this process."""
        return self._way.url

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | bytes | None = None,
        query: dict[str, Any] | None = None,
        again: bool | None = None,
        form: str | None = None,
    ) -> Any:
        """One request; ``path`` follows the database, or begins with ``//`` for the server as a whole.

        Args:
            body: An object, or bytes of the media type ``form``.
            query: What the query string says; values that are None are left out.
            again: Whether it may be sent twice; a GET may.
        """
        target = self._target(path, query)
        sent = encode(body).encode() if isinstance(body, dict) else body
        headers = {"Content-Type": form} if form else None
        again = method == "GET" if again is None else again
        return self._way.ask(method, target, sent, again, headers)

    def embedding_sets(self) -> list[dict[str, Any]]:
        """The embedding sets of the database, with their keys and spaces, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask("GET", "/embeddingsets", query={"limit": _SETS, "offset": len(found)})
            found.extend(page)
            if len(page) < _SETS:
                return found

    def download(self, path: str, query: dict[str, Any], file: Any) -> None:
        """Writes the answer to a GET to a file, piece by piece."""
        self._way.download(self._target(path, query), file)

    def _target(self, path: str, query: dict[str, Any] | None) -> str:
        told = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in (query or {}).items()
            if value is not None
        }
        target = "/curation/v1" + path[1:] if path.startswith("//") else self._root + path
        return target + ("?" + urlencode(told) if told else "")


class Curation:
    """Curation on a server; made by :func:`connect`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        at = self._connection
        return f"Curation({at.url}, tenant={at.tenant!r}, database={at.database!r})"

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._connection.url

    def training(self, embedding_set: dict[str, Any] | str | None = None, **more: Any) -> Session:
        """A session that logs what the model was trained on; arguments as of :class:`Session`."""
        return self._session("training", embedding_set, more)

    def production(self, embedding_set: dict[str, Any] | str | None = None, **more: Any) -> Session:
        """A session that logs what the model meets at work; arguments as of :class:`Session`."""
        return self._session("production", embedding_set, more)

    def triage(self, embedding_set: dict[str, Any] | str | None = None, **more: Any) -> Session:
        """A session that logs what people saw the model get wrong; arguments as of :class:`Session`."""
        return self._session("triage", embedding_set, more)

    def test(self, embedding_set: dict[str, Any] | str | None = None, **more: Any) -> Session:
        """A session that logs what the model is measured with; arguments as of :class:`Session`."""
        return self._session("test", embedding_set, more)

    def _session(self, context: str, embedding_set: Any, more: dict[str, Any]) -> Session:
        from vermilion.curation.session import Session

        return Session(self._connection, context, embedding_set, **more)

    def space(self, name: str | dict[str, Any]) -> Space:
        """A space by its name, its key or its embedding set; whether it is there shows with the first call."""
        from vermilion.curation.space import Space

        return Space(self._connection, name)

    def spaces(self) -> Listed[Answer]:
        """Every space, by name: records by context and dataset, classes, first and last observation, lag."""
        found: list[Answer] = []
        while True:
            page = self._connection.ask("GET", "/spaces", query={"limit": 100, "offset": len(found)})
            found.extend(map(Answer, page["spaces"]))
            if not page["spaces"] or len(found) >= page["total"]:
                return Listed(found, {"total": page["total"]})

    def embedding_sets(self) -> list[Answer]:
        """The embedding sets, with their keys and spaces."""
        return [Answer(one) for one in self._connection.embedding_sets()]

    def retraining(self, id: str) -> Answer:
        """All that is known of a retraining: its state, why it began, who has it, what came of it.

        Raises:
            NotFoundError: There is none of this id.
        """
        return Answer(self._connection.ask("GET", f"/retrainings/{quote(id, safe='')}"))

    def claim(
        self, id: str, worker: str | None = None, *, lease_seconds: float | None = None
    ) -> Lease:
        """Takes a retraining, as a webhook told of it; arguments as of :meth:`Space.claim`.

        Raises:
            ConflictError: Somebody has it, or it has ended.
        """
        from vermilion.curation.lease import Lease

        asked = {"worker": worker, "lease_seconds": lease_seconds}
        body = said(asked)
        told = self._connection.ask("POST", f"/retrainings/{quote(id, safe='')}/claim", body)
        return Lease(self._connection, told)

    def cancel(self, id: str) -> Answer:
        """Calls a retraining off, whoever has it.

        Raises:
            ConflictError: It has ended.
        """
        return Answer(self._connection.ask("POST", f"/retrainings/{quote(id, safe='')}/cancel", {}))

    def status(self) -> Answer:
        """State, queue, lag and last error of each of the ``components``, and how far each of the ``spaces`` is behind."""
        return Answer(self._connection.ask("GET", "//status"))

    def pause(self, component: str) -> Answer:
        """Lets a component do nothing by itself from now on, also after a restart; for administrators.

        Returns:
            The status of all.

        Raises:
            NotFoundError: There is no such component.
            ConflictError: It has no switch.
        """
        return self._switch(component, "pause")

    def resume(self, component: str) -> Answer:
        """Lets a component work again; answer and errors as of :meth:`pause`."""
        return self._switch(component, "resume")

    def run(self, component: str) -> Answer:
        """Has a component do at once what waits for it; answer and errors as of :meth:`pause`."""
        return self._switch(component, "run")

    def _switch(self, component: str, how: str) -> Answer:
        path = f"//service/{quote(component, safe='')}/{how}"
        return Answer(self._connection.ask("POST", path, {}))

    def jobs(self) -> list[Answer]:
        """The jobs of curation, each with its ``id`` and ``state``."""
        return [Answer(one) for one in self._connection.ask("GET", "//jobs")["jobs"]]

    def cancel_job(self, id: str) -> Answer:
        """Asks the run of a job to end.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It does not run.
        """
        return Answer(self._connection.ask("POST", f"//jobs/{quote(id, safe='')}/cancel", {}))

    def upload(self, path: str | os.PathLike[str], remove: bool = False, **head: Any) -> Saved:
        """Sends a file of a session, or any file of lines of JSON as ``POST /log`` takes it.

        Sending it again changes nothing: each part goes under a key that is made of what is in it.

        Args:
            path: The file.
            remove: Whether it is removed once all of it is sent.
            head: What holds for all records where the file has no first line that says so: ``space`` or
                ``embedding_set``, ``context``, ``dataset``, ``class_names``, ``metric``.

        Raises:
            InvalidArgumentError: The file holds something else, or the server refuses a record; then
                ``row`` counts the records of the file.
            ConflictError: A session that is alive writes to the file.
        """
        from vermilion.curation.buffer import upload

        return upload(self._connection, path, remove, head)

    def pending(self, folder: str | os.PathLike[str] | None = None) -> list[str]:
        """Files of sessions whose programs ended before they had sent all; :meth:`upload` sends one.

        Args:
            folder: Where sessions keep their files, unless it is the usual folder.
        """
        from vermilion.curation.buffer import left_behind

        return left_behind(folder)

    def process(self, model_space: str | dict[str, Any] | None = None, seconds: float = 600.0) -> Answer:
        """Waits until every score of a space is as of now. Nothing needs this: indexing and scoring begin by
        themselves; it is for programs that want an end.

        Args:
            model_space: The space; ``default_scope`` unless said.
            seconds: How long to wait at most.

        Returns:
            What holds then: ``epoch``, ``as_of_seq``, ``stale_records``.

        Raises:
            TimeoutError: Records are stale still.
        """
        return self.space(model_space or DEFAULT_SPACE).wait(seconds)

    def get_results(
        self, n_results: int = 100, model_space: str | dict[str, Any] | None = None
    ) -> Any:
        """The ``n_results`` records to label first, as a DataFrame of pandas."""
        return self.space(model_space or DEFAULT_SPACE).recommend(n_results).to_pandas()

    def log_training(
        self,
        embedding: Any,
        input_uri: Any,
        dataset: str | None = None,
        inference_class: Any = None,
        label_class: Any = None,
        model_space: str | dict[str, Any] | None = None,
        **more: Any,
    ) -> Assessments:
        """Logs training records at once; further columns as of :meth:`Session.log`.

        Args:
            embedding: Vectors of shape (records, dimension).
            input_uri: What names each input.
            dataset: The bag that they are in.
            inference_class: What the model said of each.
            label_class: What a person said of each.
            model_space: The space by name, or its embedding set; ``default_scope`` unless said.
        """
        return self._log(
            "training", embedding, input_uri, dataset, inference_class, label_class, model_space, more
        )

    def log_production(
        self,
        embedding: Any,
        input_uri: Any,
        dataset: str | None = None,
        inference_class: Any = None,
        label_class: Any = None,
        model_space: str | dict[str, Any] | None = None,
        **more: Any,
    ) -> Assessments:
        """Logs production records at once; arguments as of :meth:`log_training`."""
        return self._log(
            "production", embedding, input_uri, dataset, inference_class, label_class, model_space, more
        )

    def log_triage(
        self,
        embedding: Any,
        input_uri: Any,
        dataset: str | None = None,
        inference_class: Any = None,
        label_class: Any = None,
        model_space: str | dict[str, Any] | None = None,
        **more: Any,
    ) -> Assessments:
        """Logs triage records at once; arguments as of :meth:`log_training`."""
        return self._log(
            "triage", embedding, input_uri, dataset, inference_class, label_class, model_space, more
        )

    add_training = log_training
    add_unlabeled = log_production
    add_triage = log_triage

    def _log(
        self,
        context: str,
        embedding: Any,
        input_uri: Any,
        dataset: str | None,
        inference_class: Any,
        label_class: Any,
        model_space: Any,
        more: dict[str, Any],
    ) -> Assessments:
        session = self._session(context, model_space or DEFAULT_SPACE, {"dataset": dataset})
        columns = {"inference_classes": inference_class, "label_classes": label_class, **more}
        return session.send(embedding, input_uri, **columns)


def connect(
    where: Any,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    tenant: str | None = None,
    database: str | None = None,
) -> Curation:
    """Curation of the database of a client, in this process or on a server, or at an address.

    Args:
        where: A client of ``vermilion`` or ``chromadb``, whose keys, headers, tenant and database are carried
            over, or an address such as ``http://localhost:8000``.
        key: The secret of an API key, where ``where`` is an address.
        headers: More headers, where ``where`` is an address.
        tenant: The tenant; that of the client, or the one that the key is for, unless said.
        database: The database, in the same way.

    Raises:
        InvalidArgumentError: The client is of chromadb and has a database in this process.
        TransportError: The server was not reached.
        ValueError: It has no such tenant or database.
    """
    if isinstance(where, str):
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        place = tenant or DEFAULT_TENANT, database or DEFAULT_DATABASE
        where = HttpClient(where, headers=sent, tenant=place[0], database=place[1])
    elif key or headers:
        raise InvalidArgumentError("A client has its own key and headers; give them with an address")
    where = getattr(where, "_wrapped", where)
    return Curation(Connection(_way_to(where), tenant or where.tenant, database or where.database))


def _way_to(client: Any) -> Transport:
    if isinstance(client, ClientAPI):
        if isinstance(client._transport, (Http, Embedded)):
            return client._transport
        raise RuntimeError("This client was closed; make another")
    # The client of chromadb: what it sends to, and what it says of itself with every request.
    server = getattr(client, "_server", None)
    session = getattr(server, "_session", None)
    if server is None or not hasattr(client, "tenant"):
        raise InvalidArgumentError(
            f"A {type(client).__name__} leads to no server: an address, or a client of vermilion or chromadb does"
        )
    if session is None:
        if hasattr(server, "_api_url"):
            raise InvalidArgumentError("An asynchronous client of chromadb is not taken; give its address")
        embedded = getattr(server, "_embedded", None)
        if isinstance(embedded, Embedded):
            return embedded
        raise InvalidArgumentError(
            "This client of chromadb has a database of its own in this process, which is none of Vermilion: use "
            "vermilion.PersistentClient, or `vermilion serve` and its address"
        )
    kept = {name: text for name, text in session.headers.items() if name.lower() not in _ITS_OWN}
    return Http(server._api_url, headers=kept, ssl_verify=server._settings.chroma_server_ssl_verify)
