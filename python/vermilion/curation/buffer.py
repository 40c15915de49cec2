"""Files that hold what sessions have not sent yet: a first line that says what holds for all records, then a
line of JSON for each, as ``POST /log`` takes them.

What must stay true: a record that was logged is in the file, or on the server; a file goes only after all of
it is there, in its order. Sending any of it again changes nothing, since each part has a key that is made of what is
in it and before it. ``vermilion curation upload`` (``crates/cli/src/curation/upload.rs``) cuts parts and makes keys
by the same rules, so that it does not matter who sends what twice: a change of either is made in both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vermilion.curation.answers import Saved
from vermilion.curation.connection import patiently
from vermilion.errors import ChromaError, ConflictError, InvalidArgumentError
from vermilion.records import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vermilion.curation.connection import Connection

#: Lines and bytes of one request at most.
PART_RECORDS = 5000
PART_BYTES = 16 << 20
#: The media type of lines of JSON.
LINES = "application/x-ndjson"
_KEY_DIGITS = 32
#: JSON as the server writes it for a digest.
_canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def folder_of(told: str | os.PathLike[str] | None) -> Path:
    """Where files are kept: as told, as ``VERMILION_SESSIONS`` says, or with the state of the user's programs."""
    if told is None:
        told = os.environ.get("VERMILION_SESSIONS")
    if told is not None:
        return Path(told)
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state) / "vermilion" / "sessions"


class Buffer:
    """The file of one session, which holds it as its own as long as it lives."""

    def __init__(self, folder: str | os.PathLike[str] | None, head: dict[str, Any]) -> None:
        place = folder_of(folder)
        place.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        self.path = place / f"{time.strftime('%Y%m%dT%H%M%S')}-{name[:8]}.jsonl"
        self.records = 0
        # Lines go to the system at once, so that they outlive this process.
        self._file = open(self.path, "xb", buffering=0)
        _hold(self._file)
        self._put(encode({**head, "idempotency_key": name}) + "\n")

    def add(self, lines: Iterable[str]) -> None:
        """Appends records.

        Raises:
            OSError: There is no room; the file is as before.
        """
        all_lines = list(lines)
        self._put("".join(all_lines))
        self.records += len(all_lines)

    def _put(self, text: str) -> None:
        before = self._file.tell()
        rest = memoryview(text.encode())
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(before)
            self._file.seek(before)
            raise

    def send(self, connection: Connection) -> Saved:
        """Sends all, and removes the file."""
        with open(self.path, "rb") as file:
            saved = _send(connection, file, str(self.path), {})
        self.discard()
        return saved

    def discard(self) -> None:
        """Removes the file with all that is in it."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path)
        self._file.close()

    def close(self) -> None:
        """Leaves the file to whoever sends it."""
        self._file.close()


def _hold(file: BinaryIO) -> bool:
    """Takes a file as one's own until it is closed; False where another process has it. Where the system
    cannot do that, every file is free."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def left_behind(folder: str | os.PathLike[str] | None) -> list[str]:
    """See :meth:`vermilion.curation.Curation.pending`."""
    found = []
    for path in sorted(folder_of(folder).glob("*.jsonl")):
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            if _hold(file):
                found.append(str(path))
    return found


def upload(
    connection: Connection, path: str | os.PathLike[str], remove: bool, head: dict[str, Any]
) -> Saved:
    """See :meth:`vermilion.curation.Curation.upload`."""
    with open(path, "rb") as file:
        if not _hold(file):
            raise ConflictError(f"A session that is alive writes to {os.fspath(path)}; it sends it itself")
        saved = _send(connection, file, os.fspath(path), head)
        if remove:
            os.remove(path)
    return saved


def _send(connection: Connection, file: BinaryIO, path: str, told: dict[str, Any]) -> Saved:
    begun, sent = time.perf_counter(), 0
    head, lines, torn = _read(file, path)
    head = {**told, **head}
    key = str(head.pop("idempotency_key", ""))
    answer: dict[str, Any] = {}
    for part in _parts(lines, head.get("context")):
        body = b"".join(part)
        # Of the part before too: what is logged as a, as b and as a again are three parts and not two.
        key = hashlib.sha256(key.encode() + body).hexdigest()[:_KEY_DIGITS]
        first = encode({**head, "idempotency_key": key}) + "\n"
        whole = first.encode() + body
        try:
            answer = patiently(
                lambda whole=whole: connection.ask("POST", "/log", whole, again=True, form=LINES)
            )
        except ChromaError as error:
            if error.row is not None:
                error.row += sent
            error.add_note(f"{sent} records of {path} were sent; sending it again changes nothing")
            raise
        sent += len(part)
    seconds = time.perf_counter() - begun
    return Saved(sent, answer.get("space"), answer.get("embedding_set_key"), seconds, torn())


def _read(file: BinaryIO, path: str) -> tuple[dict[str, Any], Iterator[bytes], Any]:
    """What the first line says, the lines of records, and a function that says at the end whether the last
    one was torn."""
    state = {"torn": False}
    first = file.readline()
    head = _object(first, path, 1) if first.strip() else {}
    held = [first] if "embedding" in head else []
    if held:
        head = {}

    def lines() -> Iterator[bytes]:
        for number, line in enumerate(_chain(held, file), 1 if held else 2):
            if not line.endswith(b"\n"):
                # Whoever wrote it was stopped here, unless it is a whole line all the same.
                try:
                    json.loads(line)
                except ValueError:
                    state["torn"] = True
                    return
                line += b"\n"
            if line.strip():
                if not line.lstrip().startswith(b"{"):
                    _object(line, path, number)
                yield line

    return head, lines(), lambda: state["torn"]


def _chain(held: list[bytes], file: BinaryIO) -> Iterator[bytes]:
    yield from held
    yield from file


def _object(line: bytes, path: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise InvalidArgumentError(f"Line {number} of {path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"Line {number} of {path} is no object: each record is one")
    return found


def _parts(lines: Iterator[bytes], context: Any) -> Iterator[list[bytes]]:
    """Cuts lines into parts of so many records and bytes, and before each record that its part already has: the
    server takes no part that has a record twice, and the later one is to change the earlier.

    Args:
        context: That of records that have none of their own.
    """
    part: list[bytes] = []
    size = 0
    names: set[str] = set()
    for line in lines:
        name = _name(line, context)
        if part and (len(part) == PART_RECORDS or size + len(line) > PART_BYTES or name in names):
            yield part
            part, size, names = [], 0, set()
        part.append(line)
        size += len(line)
        if name is not None:
            names.add(name)
    if part:
        yield part


def _name(line: bytes, context: Any) -> str | None:
    """The id of a record, its own or the one that the server gives it; None where it refuses the line anyway.

    The digest is that of ``crates/curation/src/key.rs``, since an id may be told that the server gave before.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    said = [record.get(field) for field in ("id", "input_uri", "target", "context")]
    if any(one is not None and not isinstance(one, str) for one in said):
        return None
    own, uri, target, of_its_own = said
    context = context if of_its_own is None else of_its_own
    if own is not None or uri is None or not isinstance(context, str):
        return own
    named = _canonical([uri, target, context]).encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).hexdigest()[:_KEY_DIGITS]
