"""How requests reach a database: in this process, or over HTTP (:mod:`vermilion.http`).

What must stay true: both ways take the same bodies and answer the same columns, so that nothing above
them asks which one it is.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vermilion.errors import ChromaError, ConflictError, InvalidArgumentError
from vermilion.records import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from vermilion.config import Settings

#: What the system says of a folder that is not for this program to write.
_NOT_WRITABLE = ("Permission denied", "Read-only file system", "Access is denied")

#: The tenant, the database, and the id of a collection.
Names = tuple[str, str, str]


class Transport(Protocol):
    """What a client needs of a way to a database."""

    #: ``in process``, ``memory``, ``socket`` or ``http``.
    kind: str
    #: Why it is this one.
    reason: str

    @property
    def url(self) -> str:
        """Where the database is, for people: an address, or a place in this process."""

    def heartbeat(self) -> int:
        """Nanoseconds since 1970 by the clock of the database."""

    def version(self) -> str:
        """The version of what answers."""

    def max_batch_size(self) -> int:
        """Records in one request at most."""

    def identity(self) -> dict[str, Any]:
        """Who this client is taken for, and the databases that it reaches."""

    def call(self, operation: str, *names: str, body: dict[str, Any] | None = None) -> Any:
        """Carries out an operation with a small body; the answer is that of the HTTP API."""

    def write(
        self,
        names: Names,
        operation: str,
        columns: dict[str, Any],
        embeddings: NDArray[np.float32] | None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """Writes records: ``add``, ``update`` or ``upsert``, all or nothing. ``look`` raises what is wrong with their
        metadata, and is called before anything is sent; where values are read here anyway, only if one of them is
        such that it can be wrong."""

    def get(self, names: Names, body: dict[str, Any]) -> dict[str, Any]:
        """Records, in columns."""

    def query(
        self, names: Names, queries: NDArray[np.float32], body: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The nearest records to each query, in columns."""

    def ask(
        self, method: str, path: str, body: bytes | None, again: bool, form: dict[str, str] | None = None
    ) -> Any:
        """One request to any route of a server; ``again`` says whether it may be sent twice."""

    def download(self, path: str, file: Any) -> None:
        """Writes the answer to a GET of any route to a file, piece by piece."""

    def close(self) -> None:
        """Lets go of the database."""


class Embedded:
    """A database in this process: in a folder, or in memory.

    Clients of one folder share one database, and so do all clients in memory, as with chromadb. It
    closes when the last of them does, or when the program ends.
    """

    kind = "in process"

    _open: ClassVar[dict[str | None, Embedded]] = {}
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, path: str | None) -> None:
        from vermilion import _engine

        self.path = path
        self.reason = "a folder was named" if path else "nothing was named: all is in memory"
        self.users = 0
        self.settings: dict[str, Any] | None = None
        self.process = os.getpid()
        if path is not None and os.path.exists(path) and not os.path.isdir(path):
            raise InvalidArgumentError(f"{path} is a file; a database is a folder: name another place for it")
        try:
            self._engine = _engine.Engine(path)
        except ConflictError as error:
            raise ConflictError(
                f"{error} A folder can be open in one process at a time; for several processes start "
                f"`vermilion serve --path {path}` and use HttpClient."
            ) from None
        except ChromaError as error:
            if path is not None and not os.path.isdir(path):
                raise InvalidArgumentError(f"The folder {path} cannot be made: {error}") from error
            if path is not None and any(one in str(error) for one in _NOT_WRITABLE):
                raise InvalidArgumentError(
                    f"The folder {path} cannot be written: {error}. A database writes to its folder even where it is only "
                    f"read: give this user the right to write there and to all files in it, or copy the folder to a "
                    f"place of its own."
                ) from error
            raise

    @classmethod
    def at(cls, path: str | os.PathLike[str] | None, settings: Settings | None = None) -> Embedded:
        """The database in the folder ``path``, made where it is not there, or the one in memory.

        Args:
            path: The folder, or None.
            settings: Those of the client; clients of one database have the same. Without any it takes those
                that there are.

        Raises:
            ConflictError: Another process has the folder open.
            InvalidArgumentError: A client with other settings has it open, or it cannot be made or written.
            ChromaError: The folder holds data of Chroma, or cannot be opened.
        """
        place = None if path is None else os.path.realpath(path)
        with cls._lock:
            found = cls._open.get(place)
            if found is None or found.process != os.getpid():
                if place is not None:
                    _refuse_data_of_chroma(place)
                if not cls._open:
                    atexit.register(cls.close_all)
                found = cls._open[place] = cls(place)
            if settings is not None:
                found._agree(settings)
            found.users += 1
            return found

    def _agree(self, settings: Settings) -> None:
        """Refuses other settings than those of the first client: one that may not reset would lose its
        records to one that may."""
        told = settings.of_database()
        if self.settings is None:
            self.settings = told
        elif self.settings != told:
            raise InvalidArgumentError(
                f"An instance of Chroma already exists for {self.path or 'ephemeral'} with different settings"
            )

    @classmethod
    def close_all(cls) -> None:
        """Closes every database of this process, so that each log has a clean end."""
        with cls._lock:
            for one in list(cls._open.values()):
                if one.process == os.getpid():
                    one._engine.close()
            cls._open.clear()

    def close(self) -> None:
        with self._lock:
            self.users -= 1
            if self.users <= 0 and self._open.get(self.path) is self:
                del self._open[self.path]
                if self.process == os.getpid():
                    self._engine.close()

    def heartbeat(self) -> int:
        return self._engine.heartbeat()

    def version(self) -> str:
        from vermilion import _engine

        return _engine.__version__

    def max_batch_size(self) -> int:
        return self._engine.max_batch_size

    def identity(self) -> dict[str, Any]:
        return {"user_id": "", "tenant": None, "databases": None}

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return f"this process, {self.path or 'in memory'}"

    def ask(
        self, method: str, path: str, body: bytes | None, again: bool, form: dict[str, str] | None = None
    ) -> Any:
        """One request to any route of a server, as of :meth:`vermilion.http.Http.ask`; ``again`` means nothing here."""
        from vermilion.http import read

        kind = (form or {}).get("Content-Type") or (None if body is None else "application/json")
        status, kind, answer = self._engine.ask(method, path, kind, body)
        return answer if status < 300 and kind != "application/json" else read(status, answer)

    def download(self, path: str, file: Any) -> None:
        """Writes the answer to a GET of any route to a file, piece by piece."""
        from vermilion.http import read

        status, _, answer = self._engine.ask("GET", path, take=file.write)
        if status != 200:
            read(status, answer)

    def call(self, operation: str, *names: str, body: dict[str, Any] | None = None) -> Any:
        sent = encode(body or {}).encode()
        return json.loads(self._engine.call(operation, list(names), sent))

    def write(
        self,
        names: Names,
        operation: str,
        columns: dict[str, Any],
        embeddings: NDArray[np.float32] | None,
        look: Callable[[], None] | None = None,
    ) -> None:
        self._engine.write(names, operation, columns, embeddings, look)

    def get(self, names: Names, body: dict[str, Any]) -> dict[str, Any]:
        return self._engine.get(names, encode(body).encode())

    def query(
        self, names: Names, queries: NDArray[np.float32], body: dict[str, Any]
    ) -> list[dict[str, Any]]:
        sent = encode({**body, "query_embeddings": []})
        return self._engine.query(names, queries, sent.encode())


def _refuse_data_of_chroma(place: str) -> None:
    theirs, ours = (os.path.join(place, name) for name in ("chroma.sqlite3", "catalog.sqlite"))
    if os.path.exists(theirs) and not os.path.exists(ours):
        raise ChromaError(
            f"The folder {place} holds data of Chroma. `vermilion import-chroma {place} --path NEW` "
            f"brings it over to another folder, which PersistentClient then opens."
        )


def _forget_after_fork() -> None:
    # The child opens its own; those of the parent stay as they are, for their threads are not here.
    Embedded._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
