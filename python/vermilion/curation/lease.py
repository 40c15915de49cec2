"""A retraining that this program has taken, and keeps as long as it shows signs of life."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vermilion.curation.answers import Answer
from vermilion.curation.asking import said
from vermilion.curation.connection import patiently
from vermilion.errors import ChromaError, ConflictError

if TYPE_CHECKING:
    from vermilion.curation.connection import Connection

#: Signs of life while a lease lasts.
_SIGNS = 3


class Lease:
    """A retraining that was taken; made by :meth:`Space.claim` and :meth:`Curation.claim`.

    A thread renews the lease until :meth:`complete`, :meth:`fail` or :meth:`close`. As a context manager it gives the retraining
    up by :meth:`fail` where the ``with`` ends by an exception, and closes otherwise: what was not completed then waits for another
    worker when the lease runs out.

    Attributes:
        retraining: The retraining as it was when it was taken.
        event: Why it began (``reason``), as of which position of the log (``as_of_seq``), what the one before came to
            (``previous``), and where the training set is (``links``).
        id: The id of the retraining.
    """

    def __init__(self, connection: Connection, claimed: dict[str, Any]) -> None:
        self._connection = connection
        self.retraining = Answer(claimed["retraining"])
        self.event = Answer(claimed["event"])
        self.id = str(claimed["retraining"]["id"])
        self._token = claimed["lease"]
        self._pause = float(claimed["lease_seconds"]) / _SIGNS
        self._progress: dict[str, Any] = {}
        self._lost: ConflictError | None = None
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._live, name=f"lease-{self.id}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"Lease({self.id!r}, lost={self.is_lost})"

    @property
    def is_lost(self) -> bool:
        """Whether the retraining is somebody else's by now, or was called off; then its result is refused."""
        return self._lost is not None

    def _ask(self, what: str, body: dict[str, Any]) -> Answer:
        path = f"/retrainings/{quote(self.id, safe='')}/{what}"
        told = {"lease": self._token, **body}
        return Answer(patiently(lambda: self._connection.ask("POST", path, told, again=True)))

    def _live(self) -> None:
        while not self._ended.wait(self._pause):
            try:
                with self._turn:
                    if self._ended.is_set():
                        return
                    self._ask("heartbeat", self._progress)
            except ConflictError as error:
                self._lost = error
                return
            except ChromaError:
                # The server may be back before the lease runs out; whoever completes is told otherwise.
                continue

    def heartbeat(self, progress: float | None = None, message: str | None = None) -> Answer:
        """Shows a sign of life at once, with how far the work is.

        Args:
            progress: 0 to 1.
            message: What is being done.

        Raises:
            ConflictError: The lease is lost.
        """
        told = {"progress": progress, "message": message}
        with self._turn:
            self._progress.update(said(told))
            return self._ask("heartbeat", self._progress)

    def complete(
        self,
        embedding_set: dict[str, Any] | None = None,
        *,
        metrics: dict[str, float] | None = None,
        metrics_before: dict[str, float] | None = None,
        consumed_ids: Any = None,
        space: str | None = None,
        message: str | None = None,
    ) -> Answer:
        """Ends the retraining well. The same again is answered the same.

        Args:
            embedding_set: That of the new model, whose space is opened.
            metrics: Numbers by name, of the new model.
            metrics_before: The same of the old model.
            consumed_ids: The records that it was trained on, which leave the list.
            space: The name of the new space.
            message: What else there is to say.

        Returns:
            The retraining, with ``before_after``.

        Raises:
            ConflictError: The lease is lost, or it was completed otherwise.
        """
        told = {
            "embedding_set": embedding_set,
            "metrics": metrics,
            "metrics_before": metrics_before,
            "consumed_ids": None if consumed_ids is None else [str(one) for one in consumed_ids],
            "space": space,
            "message": message,
        }
        return self._end("complete", told)

    def fail(self, message: str | None = None) -> Answer:
        """Gives the retraining up.

        Raises:
            ConflictError: The lease is lost.
        """
        return self._end("fail", {"message": message})

    def _end(self, how: str, told: dict[str, Any]) -> Answer:
        with self._turn:
            answer = self._ask(how, said(told))
            self._ended.set()
        return answer

    def close(self) -> None:
        """Shows no more signs of life."""
        self._ended.set()
        self._thread.join()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is not None and not self._ended.is_set() and not self.is_lost:
                self.fail(f"{kind.__name__}: {error}"[:2000])
        finally:
            self.close()
