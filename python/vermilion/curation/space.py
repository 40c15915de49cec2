"""A space: what to label next, why, and what people decided."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vermilion.curation.answers import (
    Answer,
    Assessment,
    Assessments,
    Issue,
    Issues,
    Listed,
    Recommendation,
    Recommendations,
)
from vermilion.curation.asking import said, tries
from vermilion.curation.batch import Batch
from vermilion.curation.upkeep import Upkeep
from vermilion.errors import ConflictError, InvalidArgumentError, NotFoundError
from vermilion.records import clause, encode, whole

if TYPE_CHECKING:
    from vermilion.curation.connection import Connection
    from vermilion.curation.lease import Lease

#: Entries of one page of a list at most.
_PAGE = 1000
#: Issues of one page.
_ISSUES = 1000
#: Cells of one page of a confusion.
_CELLS = 10_000
#: How often a list is begun again that changes while it is read.
_TRIES = 3
_KEY_DIGITS = 32


class Space(Upkeep):
    """The records of one embedding set; made by :meth:`Curation.space`."""

    def __init__(self, connection: Connection, name: str | dict[str, Any]) -> None:
        if isinstance(name, dict):
            name = key_of(connection, name)
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError("A space is named by its name, its key or its embedding set")
        self._connection = connection
        #: Its name or its key, as it was asked for.
        self.name = name

    def __repr__(self) -> str:
        return f"Space({self.name!r})"

    def _ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return self._connection.ask(method, f"/spaces/{quote(self.name, safe='')}{path}", body, **more)

    def about(self) -> Answer:
        """What the space holds: records by context and dataset, classes, first and last observation, lag.

        Raises:
            NotFoundError: There is no such space.
        """
        return Answer(self._ask("GET", ""))

    def delete(self) -> None:
        """Deletes the space with all its records."""
        self._ask("DELETE", "")

    def recommend(
        self,
        n: int = 100,
        *,
        objective: str | None = None,
        where: Any = None,
        datasets: list[str] | None = None,
        candidates: float | None = None,
        per_class_cap: int | None = None,
        per_group_cap: int | None = None,
        singletons: float | None = None,
        random_share: float | None = None,
        seed: int | None = None,
        exclude_decided: bool | None = None,
        explain: bool | None = None,
        allow_degraded: bool | None = None,
        wait: float = 600.0,
    ) -> Recommendations:
        """The ``n`` records of production whose labels cover most of what the model is uncertain about.

        Args:
            n: How many; more than 1,000 are read page by page, all of one list.
            objective: ``retrain`` unless said, ``explore`` (what is new), ``verify`` (most trouble first),
                ``random``.
            where: Only records that this filter means.
            datasets: Only records of these datasets.
            candidates: The share of undecided records, the most uncertain, that may be on it: above 0 to 1.
            per_class_cap: Entries of one class at most.
            per_group_cap: Entries of one group at most.
            singletons: The weight of a record's own mass: 0 to 1.
            random_share: The share that is drawn evenly, so that accuracy can be measured: 0 to 1.
            seed: Where draws begin.
            exclude_decided: Whether decided records are left out; they are unless this is False.
            explain: Whether each has parts, reasons and neighbours; they have unless this is False.
            allow_degraded: Whether a list is made without training data, by density alone.
            wait: Seconds to wait for the first list of a large space, which the server makes in the background.

        Raises:
            NotFoundError: There is no such space.
            InvalidArgumentError: An argument is wrong; or (``reason`` is ``no_reference``) there is no training data.
            ConflictError: The list changed each time it was read.
            TimeoutError: The first list is being made still.
        """
        wanted = whole(n, "n") or 0
        asked = {
            "objective": objective,
            "where": clause(where, "where"),
            "datasets": datasets,
            "candidates": candidates,
            "per_class_cap": whole(per_class_cap, "per_class_cap"),
            "per_group_cap": whole(per_group_cap, "per_group_cap"),
            "singletons": singletons,
            "random_share": random_share,
            "seed": whole(seed, "seed"),
            "exclude_decided": exclude_decided,
            "explain": explain,
            "allow_degraded": allow_degraded,
        }
        body = said(asked)
        for last in reversed(range(_TRIES)):
            try:
                return self._list(wanted, body, wait)
            except ConflictError as error:
                if error.reason != "cursor_expired" or not last:
                    raise
        raise AssertionError("the last try returns or raises")

    def _list(self, wanted: int, body: dict[str, Any], seconds: float) -> Recommendations:
        entries: list[Recommendation] = []
        cursor = None
        while True:
            page = {**body, "n": min(wanted - len(entries), _PAGE)}
            if cursor is not None:
                page["cursor"] = cursor
            told = self._page(page, seconds)
            entries.extend(map(Recommendation, told.pop("recommendations")))
            cursor = told.pop("cursor")
            if cursor is None or len(entries) >= wanted:
                return Recommendations(entries, told)

    def _page(self, page: dict[str, Any], seconds: float) -> dict[str, Any]:
        """A page of a list, waited for where there is none yet."""
        told: dict[str, Any] = {}
        for _ in tries(seconds):
            told = self._ask("POST", "/recommendations", page, again=True)
            if _is_made(told):
                return told
        far = told["making"] and f": neighbours of {told['making']['done']} of {told['making']['of']} records are known"
        raise TimeoutError(f"the list is not made after {seconds} s{far or ''}; ask again, or give `wait` more seconds")

    def assess(
        self,
        embeddings: Any,
        *,
        inference_classes: Any = None,
        probabilities: Any = None,
        logits: Any = None,
        class_names: list[Any] | None = None,
    ) -> Assessments:
        """What is to be thought of vectors that are not stored: whether to upload what they are of.

        Args:
            embeddings: Vectors of shape (vectors, dimension), or one of shape (dimension,).
            inference_classes: What the model said of each.
            probabilities: Of shape (vectors, classes), or a dictionary of some classes for each.
            logits: The same before the softmax, instead of probabilities.
            class_names: The classes of the rows of probabilities, in their order.

        Raises:
            InvalidArgumentError: An argument is wrong; or (``reason`` is ``no_reference``) there is no training data.
        """
        columns = {
            "inference_classes": inference_classes,
            "probabilities": probabilities,
            "logits": logits,
        }
        # Vectors that are not stored are of no input; the server is not told of any.
        batch = Batch(embeddings, ["-"] * len(_rows(embeddings)), **columns)
        body = batch.body()
        del body["input_uris"], body["observed_at"]
        if class_names is not None:
            body["class_names"] = [str(one) for one in class_names]
        told = self._ask("POST", "/assess", body, again=True)
        found = [Assessment(one) for one in told["assessments"]]
        return Assessments(found, {**told["as_of"], "ready": True})

    def explain(self, id: str) -> Answer:
        """All that is known of one record: its ``assessment``, how its trouble is summed up (``trouble_explanation``),
        what signals count (``weights``), the classes nearest to it, what covers it.

        Raises:
            NotFoundError: There is no such record.
        """
        told = Answer(self._ask("GET", f"/records/{quote(id, safe='')}/explain"))
        told["assessment"] = Assessment(told["assessment"])
        return told

    def signals(self) -> Answer:
        """How much each signal counts in ``trouble``, and why.

        Returns:
            ``signals``, each with its ``share`` of the whole (0 to 1), the chances of telling that it is by
            (``tells_errors``, ``tells_unknown``) and an ``explanation``; of how many training records that is
            (``right``, ``wrong``).

        Raises:
            InvalidArgumentError: (``reason`` is ``no_reference``) There is no training data.
        """
        return Answer(self._ask("GET", "/signals"))

    def thumbnail(self, id: str) -> bytes:
        """The small picture that was logged with a record, as it was logged.

        Raises:
            NotFoundError: There is no such record, or it has none.
        """
        return bytes(self._ask("GET", f"/records/{quote(id, safe='')}/thumbnail"))

    def decide(self, ids: Any, decision: Any, snooze_seconds: float | None = None) -> Answer:
        """Notes what people did with records.

        Args:
            ids: The records.
            decision: One for all, or one for each: ``labelled``, ``junk``, ``duplicate``, ``model_is_right``, ``snoozed``;
                None takes a decision back.
            snooze_seconds: How long snoozed records are left alone; a week unless said.

        Returns:
            ``records`` that were changed, ``seq`` (first and last position in the log), and ``epoch``.

        Raises:
            NotFoundError: One of the records is not there; nothing was noted.
        """
        listed = _ids(ids)
        body: dict[str, Any] = {"ids": listed}
        if decision is None or isinstance(decision, str):
            body["decisions"] = [decision] * len(listed)
        else:
            body["decisions"] = list(decision)
        if snooze_seconds is not None:
            body["snooze_seconds"] = snooze_seconds
        return Answer(self._ask("POST", "/decisions", body))

    def label(self, ids: Any, label_classes: Any, promote: bool | str = False) -> Answer:
        """Sets the labels of records.

        Args:
            ids: The records.
            label_classes: One for all, or one for each; None takes a label away.
            promote: Whether they become training data, or the name of the dataset that they move to.

        Returns:
            ``records`` that were changed, ``seq`` (first and last position in the log), and ``epoch``.

        Raises:
            NotFoundError: One of the records is not there; nothing was set.
        """
        listed = _ids(ids)
        alone = label_classes is None or isinstance(label_classes, (str, int))
        classes = [label_classes] * len(listed) if alone else list(label_classes)
        texts = [None if one is None else str(one) for one in classes]
        body = {"ids": listed, "label_classes": texts, "promote": promote}
        return Answer(self._ask("POST", "/labels", body))

    def issues(
        self,
        type: str | None = None,
        limit: int | None = None,
        *,
        all: bool | None = None,
        threshold: float | None = None,
        wait: float = 0.0,
    ) -> Issues:
        """What is wrong with the data: of one type, or of all of them one after the other, each worst first.

        Args:
            type: ``label``, ``leak``, ``near_duplicate``, ``outlier``, ``imbalance``, ``unknown_class``,
                ``underperforming_cluster``, ``norm_shift``, ``dead_dimension`` or ``missing_probabilities``.
            limit: How many at most; all of them unless said, read page by page.
            all: With labels: every one of them, so that all are ranked.
            threshold: How near duplicates are at most, between vectors of length 1: 0 to 2.
            wait: Seconds to wait for a job that looks at large spaces; what it has found until then is told, and
                ``ready`` says whether that is all.

        Raises:
            InvalidArgumentError: An argument is wrong; or (``reason`` is ``no_reference``) there is no training data
                to judge labels by.
        """
        most = whole(limit, "limit")
        asked = {"type": type, "all": all, "threshold": threshold}
        self._until_ready({**asked, "limit": 0}, wait)
        found: list[Issue] = []
        while True:
            left = _ISSUES if most is None else min(most - len(found), _ISSUES)
            told = self._ask("GET", "/issues", query={**asked, "limit": left, "offset": len(found)})
            page = told.pop("issues")
            found.extend(map(Issue, page))
            if len(page) < left or len(found) in (told["total"], most):
                return Issues(found, told)

    def _until_ready(self, asked: dict[str, Any], seconds: float) -> None:
        """Waits until all records were looked at, or for so long."""
        if seconds > 0:
            any(self._ask("GET", "/issues", query=asked)["ready"] for _ in tries(seconds))

    def label_issues(
        self, limit: int | None = None, *, all: bool | None = None, wait: float = 0.0
    ) -> Issues:
        """Labels that are probably wrong, most likely first: each with ``id``, ``given_class``, ``suggested_class``,
        its probability as ``confidence`` (0 to 1), and ``explanation``. Arguments and errors as of :meth:`issues`."""
        return self.issues("label", limit, all=all, wait=wait)

    def confusion(
        self, *, dataset: str | None = None, context: str | None = None, where: Any = None
    ) -> Answer:
        """How often each label goes with each inference.

        Args:
            dataset: Only records of this dataset.
            context: Only records of this context.
            where: Only records that this filter means.

        Returns:
            ``cells`` (``label_class``, ``inference_class``, ``count``, ``examples``), all of them, read page by page,
            ``classes`` with their ``recall`` and ``precision``, ``accuracy`` (0 to 1), and ``records``.
        """
        filter = clause(where, "where")
        asked = {"dataset": dataset, "context": context, "where": filter and encode(filter)}
        cells: list[Any] = []
        while True:
            page = {**asked, "limit": _CELLS, "offset": len(cells)}
            told = self._ask("GET", "/confusion", query=page)
            cells.extend(told["cells"])
            if len(told["cells"]) < _CELLS or len(cells) >= told["total"]:
                return Answer({**told, "cells": cells})

    def drift(
        self,
        window: str | None = None,
        *,
        start: float | str | None = None,
        end: float | str | None = None,
        reference: str | None = None,
        by: str | list[str] | None = None,
        bucket: str | None = None,
        alpha: float | None = None,
    ) -> Answer:
        """Whether a window of production differs from a reference by more than chance, since when and where.

        Args:
            window: How long it is, such as ``1d``, ``6h`` or ``2w``; it ends at ``end`` or with the last observation.
            start: When it begins, in place of ``window``: seconds since 1970, or an RFC 3339 text; all of production
                unless either is said.
            end: When it ends.
            reference: A context (``training`` unless said), a dataset, ``previous`` (a window as long, just before), or a
                stretch of production ``A..B``.
            by: What the difference is told by: some of ``class``, ``cluster`` and ``metadata``.
            bucket: How long a bucket of the timeline is.
            alpha: The chance below which production counts as moved: 0.05 unless said.

        Returns:
            ``drifted``, ``statistic`` (squared distance of mean features), ``p``, ``share_new`` (0 to 1),
            ``explanation``, ``timeline``, ``witnesses``, ``cluster``, ``class``, ``metadata``, ``estimated_accuracy``.

        Raises:
            InvalidArgumentError: An argument is wrong; or (``reason`` is ``too_few_records``) there are fewer than
                20 records on one side.
        """
        asked = {
            "window": window,
            "from": start,
            "to": end,
            "reference": reference,
            "by": by if by is None or isinstance(by, str) else ",".join(by),
            "bucket": bucket,
            "alpha": alpha,
        }
        return Answer(self._ask("GET", "/drift", query=asked))

    def export(
        self,
        path: str | os.PathLike[str],
        what: str = "recommendations",
        format: str | None = None,
        *,
        context: str | None = None,
        dataset: str | None = None,
        where: Any = None,
    ) -> None:
        """Writes the list, the issues, the training data or all records to a file, which is there only once it is whole.

        Args:
            path: The file.
            what: ``recommendations``, ``issues``, ``training`` or ``records``: whatever was logged, with labels,
                decisions and trouble.
            format: ``jsonl``, ``csv`` or ``parquet``; as the name of the file ends unless said.
            context: Only records of this context.
            dataset: Only records of this dataset; of the list and training data too.
            where: Only records that this filter means; of the list and training data too.

        Raises:
            InvalidArgumentError: An argument is wrong, or what is asked for cannot be told of this space.
            TransportError: The server broke off.
        """
        filter = clause(where, "where")
        query = {
            "what": what,
            "format": format or _ending(path),
            "context": context,
            "dataset": dataset,
            "where": filter and encode(filter),
        }
        self._save("/export", query, path)

    def _save(self, path: str, query: dict[str, Any], to: str | os.PathLike[str]) -> None:
        """Writes what a route of the space answers to a file, which is there only once it is whole."""
        beside = f"{os.fspath(to)}.new"
        try:
            with open(beside, "wb") as file:
                place = f"/spaces/{quote(self.name, safe='')}{path}"
                self._connection.download(place, query, file)
            os.replace(beside, to)
        finally:
            if os.path.exists(beside):
                os.remove(beside)

    def report(self, path: str | os.PathLike[str] | None = None, format: str | None = None) -> Any:
        """Everything that is told of the space: its records, what to label, what is wrong, on one page.

        Args:
            path: The file to write; nothing is written without one.
            format: ``html`` (one file that opens offline), ``md`` or ``json``; as the name of the file ends unless
                said, else ``json``.

        Returns:
            The report: an :class:`Answer` of JSON, otherwise its text.

        Raises:
            InvalidArgumentError: The format is none of these.
        """
        kind = format or (_ending(path) if path is not None else "json")
        told = self._ask("GET", "/report", query={"format": kind})
        text = json.dumps(told, indent=1) if isinstance(told, dict) else bytes(told).decode()
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return Answer(told) if isinstance(told, dict) else text

    def retrain(
        self,
        note: str | None = None,
        *,
        dry_run: bool | None = None,
        expires_after_seconds: float | None = None,
    ) -> Answer:
        """Begins a retraining, which a worker takes with :meth:`claim`.

        Args:
            note: Why, for whoever takes it.
            dry_run: Whether only to tell what would be begun.
            expires_after_seconds: How long it waits to be taken; a day unless said.

        Raises:
            ConflictError: ``reason`` is ``retraining_open``: one waits or runs already.
        """
        asked = {"note": note, "dry_run": dry_run, "expires_after_seconds": expires_after_seconds}
        body = said(asked)
        return Answer(self._ask("POST", "/retrainings", body))

    def retrainings(
        self, *, state: str | None = None, trigger: str | None = None, limit: int | None = None
    ) -> Listed[Answer]:
        """The retrainings of the space, newest first.

        Args:
            state: ``pending``, ``delivered``, ``running``, ``succeeded``, ``failed``, ``expired`` or ``cancelled``.
            trigger: Only those that this trigger began.
            limit: How many at most.
        """
        asked = {"state": state, "trigger": trigger, "limit": whole(limit, "limit")}
        told = self._ask("GET", "/retrainings", query=asked)
        return Listed([Answer(one) for one in told.pop("retrainings")], told)

    def claim(
        self,
        worker: str | None = None,
        *,
        trigger: str | None = None,
        lease_seconds: float | None = None,
    ) -> Lease | None:
        """Takes the retraining that has waited longest; None where none waits.

        The lease renews itself on a thread until the retraining is completed or given up::

            with space.claim("gpu-1") as lease:
                model = train(lease.event)
                lease.complete({"model": "m", "version": "8"}, metrics={"accuracy": 0.94})

        Args:
            worker: A name for who has it.
            trigger: Only one that this trigger began.
            lease_seconds: How long it stays taken without a sign of life: 2 to 86,400, 600 unless said.
        """
        from vermilion.curation.lease import Lease

        asked = {"worker": worker, "trigger": trigger, "lease_seconds": lease_seconds}
        body = said(asked)
        told = self._ask("POST", "/retrainings/claim", body)
        return None if told["retraining"] is None else Lease(self._connection, told)

    def wait(self, seconds: float = 600.0) -> Answer:
        """Waits until every score is as of now, and there is a list.

        Args:
            seconds: How long to wait at most.

        Returns:
            What holds then: ``epoch``, ``as_of_seq``, ``stale_records``.

        Raises:
            InvalidArgumentError: ``reason`` is ``no_reference``: there is no training data to score against.
            TimeoutError: Records are stale still, or the list is being made.
        """
        told: dict[str, Any] = {}
        for _ in tries(seconds):
            told = self._ask("POST", "/recommendations", {"n": 0}, again=True)
            if told["stale_records"] == 0 and _is_made(told):
                return Answer({name: told[name] for name in ("epoch", "as_of_seq", "stale_records")})
        stale = told["stale_records"]
        left = f"{stale} records are stale" if stale else "the list is not made"
        raise TimeoutError(f"{left} after {seconds} s")


def _is_made(told: dict[str, Any]) -> bool:
    """Whether there is a list, be it of records as they were."""
    return bool(told["ready"] or told["total"])


def _ending(path: Any) -> str:
    """The format that a file's name means."""
    return os.path.splitext(path)[1].removeprefix(".").lower() or "json"


def _rows(embeddings: Any) -> Any:
    from vermilion.records import vectors

    return vectors(embeddings)


def _ids(given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    return [str(one) for one in given]


def key_of(connection: Connection, embedding_set: dict[str, Any]) -> str:
    """The key of an embedding set. Numbers with a point are left to the server: how these are written as
    text differs among languages.

    Raises:
        NotFoundError: The server has none like it.
    """
    if not _has_floats(embedding_set):
        text = json.dumps(embedding_set, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
    for one in connection.embedding_sets():
        if one["embedding_set"] == embedding_set:
            return str(one["embedding_set_key"])
    raise NotFoundError(f"There is no space of the embedding set {embedding_set}")


def _has_floats(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_floats, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_floats, value))
    return isinstance(value, float)
