"""Sessions: records of one context, kept in a file on this machine until they are sent."""

from __future__ import annotations

import os
import threading
import uuid
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

from vermilion.curation.answers import Assessment, Assessments, Saved
from vermilion.curation.asking import said
from vermilion.curation.batch import Batch
from vermilion.curation.buffer import Buffer
from vermilion.curation.connection import patiently
from vermilion.curation.values import wrong
from vermilion.errors import InvalidArgumentError

if TYPE_CHECKING:
    from vermilion.curation.connection import Connection


class Session:
    """Logs records of one context and embedding set; a context manager that sends them at its end.

    What is logged is kept in a file until :meth:`save` or the end of the ``with`` sends it. Where the program ends before
    that, or the ``with`` ends by an exception, the file stays: :meth:`Curation.pending` finds it and
    :meth:`Curation.upload` sends it. It may be used by several threads.

    Args:
        embedding_set: What the vectors are of: any dictionary that names the model, its version and layer; or the
            name of a space.
        space: The name of the space, beside its embedding set.
        dataset: The bag that the records are in; that of the context's name unless said.
        dataset_metadata: What is to be known of that dataset.
        class_names: The classes that rows of probabilities have numbers for, in their order.
        metric: How a new space compares vectors: ``cosine`` unless said, ``l2`` or ``ip``.
        folder: Where the file is kept; as the variable ``VERMILION_SESSIONS`` says unless told, or with the state of the
            user's programs.
    """

    def __init__(
        self,
        connection: Connection,
        context: str,
        embedding_set: dict[str, Any] | str | None = None,
        *,
        space: str | None = None,
        dataset: str | None = None,
        dataset_metadata: dict[str, Any] | None = None,
        class_names: list[Any] | None = None,
        metric: str | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(embedding_set, str):
            if space is not None:
                raise InvalidArgumentError("A space is named once: by its name, or by an embedding set")
            embedding_set, space = None, embedding_set
        if embedding_set is None and space is None:
            raise wrong("A session needs an embedding_set, or the name of a space.", "embedding_set")
        if embedding_set is not None and not isinstance(embedding_set, dict):
            raise wrong("An embedding set is a dictionary.", "embedding_set")
        names = None if class_names is None else [str(one) for one in class_names]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise wrong(f"`class_names` has `{twice[0]}` twice.", "class_names", hint="each class once")
        if metric not in (None, "cosine", "l2", "ip"):
            raise wrong(f"`{metric}` is no metric.", "metric", hint="cosine, l2, ip", reason="unknown_metric")
        told = {
            "embedding_set": embedding_set,
            "space": space,
            "context": context,
            "dataset": dataset,
            "dataset_metadata": dataset_metadata,
            "class_names": names,
            "metric": metric,
        }
        self._head = said(told)
        self._connection = connection
        self._folder = folder
        self._buffer: Buffer | None = None
        self._dimension: int | None = None
        self._turn = threading.RLock()

    @property
    def file(self) -> str | None:
        """The file that holds what was not sent yet, if there is any."""
        return None if self._buffer is None else str(self._buffer.path)

    @property
    def unsent(self) -> int:
        """Records that were logged and not sent yet."""
        return 0 if self._buffer is None else self._buffer.records

    def log(
        self,
        embeddings: Any,
        input_uris: Any,
        *,
        label_classes: Any = None,
        inference_classes: Any = None,
        probabilities: Any = None,
        logits: Any = None,
        ids: Any = None,
        targets: Any = None,
        groups: Any = None,
        quality_scores: Any = None,
        observed_at: Any = None,
        thumbnails: Any = None,
        metadatas: Any = None,
        assess: bool = False,
    ) -> Assessments:
        """Logs records. Every column has a value for each, None where there is none.

        Args:
            embeddings: Vectors of shape (records, dimension), or one of shape (dimension,).
            input_uris: What names each input.
            label_classes: What a person said; numbers are taken as their texts.
            inference_classes: What the model said; the likeliest class of the probabilities unless said.
            probabilities: Of shape (records, classes), in the order of the session's ``class_names``, each row with
                the sum 1; or a dictionary of some classes for each record, with the sum 1 at most. Sums may be
                off by 0.01.
            logits: The same before the softmax, instead of probabilities.
            ids: Names of the records; digests of input, target and context unless said, so that what is logged
                again is changed and not repeated.
            targets: Which object of its input each record is.
            groups: A video, a user, a document that each is a part of.
            quality_scores: Numbers of your own.
            observed_at: Seconds since 1970, datetimes or RFC 3339 texts; now unless said.
            thumbnails: The bytes of a small picture for each, 32 KiB at most: PNG, JPEG, GIF, WebP or AVIF.
            metadatas: Dictionaries of your own: texts, numbers, booleans, under keys that are no fields.
            assess: Whether to send all that is unsent and these at once, and to be told what is to be thought of these,
                each of which is there once.

        Returns:
            With ``assess`` an assessment for each record, or none, and ``ready`` False, while the space has
            no training data; otherwise nothing.

        Raises:
            InvalidArgumentError: A column is wrong; ``field`` and ``row`` say where, and ``reason`` is the server's code
                where it has one for that. Nothing was logged.
            OSError: The file cannot be written. Nothing was logged.
        """
        columns = {
            "ids": ids,
            "targets": targets,
            "label_classes": label_classes,
            "inference_classes": inference_classes,
            "probabilities": probabilities,
            "logits": logits,
            "groups": groups,
            "quality_scores": quality_scores,
            "observed_at": observed_at,
            "thumbnails": thumbnails,
            "metadatas": metadatas,
        }
        if assess:
            return self.send(embeddings, input_uris, assess=True, **columns)
        batch = self._batch(embeddings, input_uris, columns)
        with self._turn:
            if self._buffer is None:
                self._buffer = Buffer(self._folder, self._head)
            self._buffer.add(batch.lines())
        return Assessments([], {"ready": False})

    def send(self, embeddings: Any, input_uris: Any, assess: bool = False, **columns: Any) -> Assessments:
        """Logs records on the server at once, after all that is unsent; arguments as of :meth:`log`."""
        batch = self._batch(embeddings, input_uris, columns)
        body = {**batch.body(), **self._head, "assess": assess, "idempotency_key": uuid.uuid4().hex}
        with self._turn:
            self.save()
            told = patiently(lambda: self._connection.ask("POST", "/log", body, again=True))
        assessed = told.pop("assessments", None)
        found = [Assessment(one) for one in assessed or ()]
        return Assessments(found, {**told, "ready": assessed is not None})

    def _batch(self, embeddings: Any, input_uris: Any, columns: dict[str, Any]) -> Batch:
        batch = Batch(embeddings, input_uris, self._head, **columns)
        dimension = batch.embeddings.shape[1]
        with self._turn:
            if self._dimension not in (None, dimension):
                message = f"The vectors have {dimension} dimensions, those before {self._dimension}."
                raise wrong(message, "embeddings", 0, f"{self._dimension} dimensions")
            self._dimension = dimension
        return batch

    def save(self) -> Saved:
        """Sends what is unsent; the session goes on.

        Raises:
            ChromaError: The server refuses it or is not reached. All that is unsent stays in the file;
                sending it again changes nothing.
        """
        with self._turn:
            if self._buffer is None:
                return Saved(0, None, None, 0.0)
            saved = self._buffer.send(self._connection)
            self._buffer = None
            return saved

    def discard(self) -> None:
        """Forgets what is unsent."""
        with self._turn:
            if self._buffer is not None:
                self._buffer.discard()
            self._buffer = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            try:
                self.save()
            except BaseException:
                self._leave()
                raise
        else:
            self._leave()

    def _leave(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
            warnings.warn(
                f"{self._buffer.records} records were not sent; `vermilion curation upload {self._buffer.path}` or "
                f"Curation.upload sends them",
                stacklevel=3,
            )
            self._buffer = None
