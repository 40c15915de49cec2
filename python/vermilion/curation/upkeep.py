"""What every space has besides its lists: triggers of retrainings, what it keeps, and its map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vermilion.curation.answers import Answer, Listed
from vermilion.curation.asking import said, tries
from vermilion.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pyarrow

#: Entries of a page.
_PAGE = 1000


class Upkeep:
    """The calls of a :class:`Space` that are about its upkeep."""

    def _ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        raise NotImplementedError

    def _save(self, path: str, query: dict[str, Any], to: str | os.PathLike[str]) -> None:
        raise NotImplementedError

    def add_trigger(
        self,
        policy: dict[str, Any],
        *,
        name: str | None = None,
        webhook: str | None = None,
        secret: str | None = None,
        min_interval_seconds: float | None = None,
        dry_run: bool | None = None,
        expires_after_seconds: float | None = None,
    ) -> Answer:
        """Has a retraining begun whenever a policy holds.

        Args:
            policy: Such as ``{"type": "amount", "labels": 200}``, or several in ``{"any": [...]}`` or
                ``{"all": [...]}``; the guide of curation lists the types.
            name: What people call it; the type of the policy unless said.
            webhook: The URL that is told of each retraining, signed, until it answers with 2xx.
            secret: What the server signs with; it makes one unless said.
            min_interval_seconds: How far apart retrainings begin at least.
            dry_run: Whether only to note when it would have begun one.
            expires_after_seconds: How long its retrainings wait to be taken; a day unless said.

        Returns:
            The trigger with its ``id``; with a webhook, its ``secret`` too, which is told only here.

        Raises:
            InvalidArgumentError: The policy, the URL or a number is wrong; ``field`` names it.
        """
        receiver = None if webhook is None and secret is None else {"url": webhook, "secret": secret}
        asked = {
            "policy": policy,
            "name": name,
            "webhook": receiver and said(receiver),
            "min_interval_seconds": min_interval_seconds,
            "dry_run": dry_run,
            "expires_after_seconds": expires_after_seconds,
        }
        return Answer(self._ask("POST", "/triggers", said(asked)))

    def triggers(self) -> Listed[Answer]:
        """The triggers of the space in the order in which they were made, each with how it was judged last."""
        return self._all("/triggers", "triggers")

    def delete_trigger(self, id: str) -> None:
        """Deletes a trigger; its retrainings stay, and nobody is told of them any more.

        Raises:
            NotFoundError: ``reason`` is ``trigger_not_found``.
        """
        self._ask("DELETE", f"/triggers/{quote(id, safe='')}")

    def retention(self) -> Answer:
        """What the space keeps (``retention``, None where all stays) and what would leave now (``due``)."""
        return Answer(self._ask("GET", "/retention"))

    def retain(
        self,
        *,
        keep_versions: int | None = None,
        keep_days: float | None = None,
        keep_records: int | None = None,
        keep_training_days: float | None = None,
        purge_after_days: float | None = None,
    ) -> Answer:
        """Says what the space keeps from now on; what is past it leaves within the hour.

        Args:
            keep_versions: Training datasets, the newest so many: 3 unless said.
            keep_days: Days that production stays which nobody has decided about: 90 unless said.
            keep_records: Records of such production, the newest so many: 10 million unless said.
            keep_training_days: Days since their first training that training datasets stay, but for the newest;
                for ever unless said.
            purge_after_days: Days that training stays in cold storage which newer datasets have replaced; for
                ever unless said.

        Returns:
            As of :meth:`retention`.

        Raises:
            InvalidArgumentError: A number is out of range.
        """
        asked = {
            "keep_versions": keep_versions,
            "keep_days": keep_days,
            "keep_records": keep_records,
            "keep_training_days": keep_training_days,
            "purge_after_days": purge_after_days,
        }
        return Answer(self._ask("PUT", "/retention", said(asked)))

    def retain_all(self) -> Answer:
        """Takes back what :meth:`retain` said: nothing leaves by itself."""
        return Answer(self._ask("DELETE", "/retention"))

    def expire(self, dry_run: bool = False) -> Answer:
        """Lets leave now what is past its time.

        Args:
            dry_run: Whether only to tell what that is.

        Returns:
            The records by reason and by dataset.
        """
        return Answer(self._ask("POST", "/expire", {"dry_run": dry_run}))

    def cold_files(self, dataset: str | None = None) -> Listed[Answer]:
        """Training that left since newer datasets have replaced it, as files, oldest first.

        Args:
            dataset: Only those of this dataset.

        Returns:
            Each with ``id``, ``dataset``, ``why``, ``records``, ``bytes``, ``format`` and ``put_away_at``; and
            ``purge_at``, when it is deleted, None where it stays.
        """
        return self._all("/cold", "files", said({"dataset": dataset}))

    def save_cold_file(self, id: str, path: str | os.PathLike[str]) -> None:
        """Writes a file of :meth:`cold_files` to a file, which is there only once it is whole.

        Raises:
            NotFoundError: ``reason`` is ``cold_file_not_found``.
            TransportError: The server broke off.
        """
        self._save(f"/cold/{quote(id, safe='')}", {}, path)

    def delete_cold_file(self, id: str) -> None:
        """Deletes a file of :meth:`cold_files`.

        Raises:
            NotFoundError: ``reason`` is ``cold_file_not_found``.
        """
        self._ask("DELETE", f"/cold/{quote(id, safe='')}")

    def roll_up(self) -> Answer:
        """Has the records of the space rolled up to files from now on, which other programs read: every 15 minutes,
        and now.

        Returns:
            What there is by now: ``files`` (the first hundred), ``total``, ``records``, ``bytes`` and ``as_of_seq``.
        """
        return Answer(self._ask("PUT", "/roll_up"))

    def rolled_up(self) -> Listed[Answer]:
        """The files of the roll-up, in the order of the log.

        Returns:
            Each with ``id``, ``records``, ``datasets`` (how many records of each), ``behind_seq`` and ``to_seq`` (its
            records were last written between the two), ``bytes``, ``format`` and ``made_at``. The list has
            ``is_rolled_up``, ``as_of_seq`` and ``operations_behind``.
        """
        return self._all("/roll_up", "files")

    def save_rolled_up(self, id: str, path: str | os.PathLike[str]) -> None:
        """Writes a file of :meth:`rolled_up` to a file, which is there only once it is whole.

        Raises:
            NotFoundError: ``reason`` is ``roll_up_file_not_found``: a run has made others in its place.
            TransportError: The server broke off.
        """
        self._save(f"/roll_up/{quote(id, safe='')}", {}, path)

    def end_roll_up(self) -> None:
        """Rolls the space up no more, and deletes the files."""
        self._ask("DELETE", "/roll_up")

    def delete_dataset(self, dataset: str) -> Answer:
        """Deletes a dataset with all its records and cold files.

        Raises:
            NotFoundError: ``reason`` is ``dataset_not_found``.
        """
        return Answer(self._ask("DELETE", f"/datasets/{quote(dataset, safe='')}"))

    def map(
        self,
        fields: str | list[str] | None = None,
        seconds: float = 600.0,
        *,
        bounds: Sequence[float] | None = None,
        points: int | None = None,
    ) -> pyarrow.Table:
        """Every record as a point of a plane, near what is like it; needs pyarrow.

        Args:
            fields: Columns besides ``id``, ``x`` and ``y``: ``context``, ``label_class``, ``inference_class`` and ``trouble`` unless
                said; also ``dataset``, ``group``, ``decision``, ``observed_at``, ``agreement``, and keys of the records' own
                metadata.
            seconds: How long to wait for the first map of a large space.
            bounds: Only points of a part of the plane: the lowest x and y, then the highest.
            points: So many at most, drawn evenly; a million unless said.

        Returns:
            A table with a row for each record; its note ``records`` says how many there are within the bounds.

        Raises:
            InvalidArgumentError: pyarrow is not installed, or a field is wrong.
            TimeoutError: There is no map yet.
        """
        try:
            import pyarrow
        except ImportError as error:
            raise InvalidArgumentError(
                "Maps need pyarrow, which is not installed: pip install 'vermilion[arrow]'"
            ) from error
        query = {
            "fields": fields if fields is None or isinstance(fields, str) else ",".join(fields),
            "bounds": None if bounds is None else ",".join(map(str, bounds)),
            "points": points,
        }
        for _ in tries(seconds):
            told = self._ask("GET", "/map", query=query)
            if not isinstance(told, dict):
                return pyarrow.ipc.open_stream(told).read_all()
        raise TimeoutError(f"the map of the space is not laid out after {seconds} s")

    def _all(self, path: str, member: str, only: dict[str, Any] | None = None) -> Listed[Answer]:
        """All entries of a list that comes in pages."""
        entries: list[Answer] = []
        while True:
            told = self._ask("GET", path, query={"limit": _PAGE, "offset": len(entries), **(only or {})})
            page = told.pop(member)
            entries.extend(Answer(one) for one in page)
            if len(page) < _PAGE:
                return Listed(entries, told)
