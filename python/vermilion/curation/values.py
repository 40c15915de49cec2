"""Single values that a program logs, read as the server reads them, or refused in its words.

What must stay true: nothing is refused here that the server takes; a refusal names the column and the record.
The rules are those of ``crates/curation/src/check.rs`` and ``fields.rs``.
"""

from __future__ import annotations

import base64
import datetime
import math
import re
from typing import Any

from vermilion.errors import InvalidArgumentError

#: Keys that metadata may not have: they are those of the fields.
RESERVED = frozenset(
    "id embedding input_uri context dataset target inference_class label_class group quality_score observed_at "
    "probabilities logits decision decided_at snoozed_until promoted_from consumed_by".split()
)
#: Texts that say something where they are there.
_NEVER_EMPTY = ("ids", "inference_classes", "label_classes")
#: Bytes of a thumbnail at most.
_THUMBNAIL_BYTES_MAX = 32 * 1024
_TIMES = "seconds since 1970, or a text such as 2026-01-31T12:00:00Z"
_CLOCK = r"(\d\d)(?::([0-5]\d)(?::([0-5]\d|60)(?:[.,]\d{1,9})?)?|([0-5]\d)(?:([0-5]\d|60)(?:[.,]\d{1,9})?)?)?"
_OFFSET = r"[Zz]|([+-])(\d\d)(?::([0-5]\d)(?::([0-5]\d)(?:[.,]\d{1,9})?)?|([0-5]\d)(?:([0-5]\d)(?:[.,]\d{1,9})?)?)?"
_NAME = r"[_.A-Za-z][_.+\-0-9A-Za-z]*"
_ZONE = rf"\[!?(?:{_NAME}(?:/{_NAME})*|[+-](?:[01]\d|2[0-5])(?::?[0-5]\d)?)\]"
_TAG = r"\[[_a-z][_\-0-9a-z]*=[0-9A-Za-z]+(?:-[0-9A-Za-z]+)*\]"
#: What the server's reader of moments takes: RFC 3339, and what RFC 9557 and ISO 8601 add to it.
_MOMENT = re.compile(
    rf"([+-]\d{{6}}|\d{{4}})(-?)(\d\d)\2(\d\d)[Tt ]{_CLOCK}(?:{_OFFSET})(?:{_ZONE})?(?:{_TAG})*", re.ASCII
)
#: The first and the last second of such moments, since 1970, and the end of the year 9999.
_FIRST, _LAST, _END = -62_167_219_200, 253_402_207_200, 253_402_300_800
#: Years after which the calendar repeats, and their days.
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097


def wrong(
    message: str, field: str, row: int | None = None, hint: str | None = None, reason: str | None = None
) -> InvalidArgumentError:
    """A refusal as the server words it; ``reason`` is its code, where it has one for that."""
    error = InvalidArgumentError(message)
    error.field, error.row, error.hint, error.reason = field, row, hint, reason
    return error


def is_missing(value: Any) -> bool:
    """Whether nothing is said: None, or what tables have in its place."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    )


def plain(value: Any) -> Any:
    """A number of NumPy as one of Python; all else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def text(name: str, row: int, value: Any) -> str | None:
    """A text; numbers are the text that people write for them."""
    value = plain(value)
    if isinstance(value, str):
        if not value and name in _NEVER_EMPTY:
            message = f"`{name}` of record {row} is empty."
            raise wrong(message, name, row, "a text, or None where there is none", "empty_field")
        return _whole(name, row, value)
    if is_missing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(f"{value!r} is no text.", name, row, "texts, or whole numbers")
    if isinstance(value, float) and not value.is_integer():
        raise wrong(f"{value!r} is no name.", name, row, "texts, or whole numbers")
    return str(int(value))


def _whole(name: str, row: int, value: str) -> str:
    """A text of whole characters: names of files may have bytes that are none, which no server can be told."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong(f"{value!r} is not UTF-8.", name, row, "texts of whole characters") from None
    return value


def number(name: str, row: int, value: Any) -> float | None:
    """A finite number."""
    if is_missing(value):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise wrong(f"{value!r} is no number.", name, row, "numbers") from None
    except OverflowError:
        found = math.inf
    if math.isnan(found):
        return None
    if math.isinf(found):
        raise not_finite(name, row)
    return found


def not_finite(name: str, row: int) -> InvalidArgumentError:
    """The refusal of a number that JSON cannot write."""
    return wrong(f"`{name}` of record {row} is not finite.", name, row, "finite numbers", "not_finite")


def moment(name: str, row: int, value: Any) -> float | str | None:
    """Seconds since 1970, or a text that the server reads."""
    if isinstance(value, str):
        if not is_moment(value):
            raise wrong(f"`{name}` of record {row} is no moment.", name, row, _TIMES, "bad_time")
        return value
    if is_missing(value):
        return None
    if isinstance(value, datetime.datetime):
        # A time without a zone is one of this machine, as everywhere in Python.
        return value.timestamp()
    if type(value).__name__ == "datetime64":
        if value != value:
            return None
        value = value.astype("datetime64[ms]").astype("int64") / 1000
    seconds = number(name, row, value)
    if seconds is not None and not _FIRST <= seconds < _END:
        message = f"`{name}` of record {row} is {seconds}, which is in no year of four digits."
        raise wrong(message, name, row, f"{_TIMES}; milliseconds are divided by 1000", "bad_time")
    return seconds


def is_moment(said: str) -> bool:
    """Whether the server reads a text as a moment: it has an offset, is in the calendar and in the server's range."""
    found = _MOMENT.fullmatch(said)
    if found is None or found[1] == "-000000":
        return False
    year, hour = int(found[1]), int(found[5])
    if abs(year) > 9999 or hour > 23 or int(found[11] or 0) > 25:
        return False
    # Python's calendar begins with the year 1; the same year of a later cycle has the same days.
    cycles, rest = divmod(year - 2000, _CYCLE_YEARS)
    try:
        day = datetime.date(2000 + rest, int(found[3]), int(found[4])).toordinal() + cycles * _CYCLE_DAYS
    except ValueError:
        return False
    seconds = _seconds(hour, found[6] or found[8], found[7] or found[9])
    offset = _seconds(int(found[11] or 0), found[12] or found[14], found[13] or found[15])
    seconds += offset if found[10] == "-" else -offset
    return _FIRST <= (day - datetime.date(1970, 1, 1).toordinal()) * 86_400 + seconds <= _LAST


def _seconds(hours: int, minutes: str | None, seconds: str | None) -> int:
    # A leap second is taken for the one before it.
    return hours * 3600 + int(minutes or 0) * 60 + min(int(seconds or 0), 59)


def thumbnail(name: str, row: int, value: Any) -> str | None:
    """Bytes as base64."""
    if is_missing(value):
        return None
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise wrong(f"{type(value).__name__} is no thumbnail.", name, row, "bytes of a PNG, JPEG, GIF, WebP or AVIF file")
    if not 0 < len(bytes(value)) <= _THUMBNAIL_BYTES_MAX:
        allowed = f"1 to {_THUMBNAIL_BYTES_MAX} bytes"
        raise wrong(f"A thumbnail has {len(bytes(value))} bytes.", name, row, allowed)
    return base64.b64encode(value).decode()


def metadata(name: str, row: int, value: Any) -> dict[str, Any] | None:
    """A dictionary of plain values, without those that are missing."""
    if is_missing(value):
        return None
    if not isinstance(value, dict):
        raise wrong(f"{value!r} is no dictionary.", name, row, "dictionaries of texts, numbers and booleans")
    cells = {}
    for said, one in value.items():
        key = text(name, row, said)
        if key is None:
            raise wrong(f"{said!r} is no key.", name, row, "texts")
        if key in RESERVED:
            message = f"The metadata of record {row} has the key `{key}`, which is a field."
            hint = f"send the field `{key}`, or rename the key"
            raise wrong(message, f"{name}.{key}", row, hint, "reserved_metadata_key")
        cell = _cell(f"{name}.{key}", key, row, plain(one))
        if cell is not None:
            cells[key] = cell
    return cells or None


def _cell(field: str, key: str, row: int, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if is_missing(value):
        return None
    if isinstance(value, str):
        return _whole(field, row, value)
    if isinstance(value, (int, float)):
        number(field, row, value)
        return value
    message = f"The metadata `{key}` of record {row} is no plain value."
    raise wrong(message, field, row, "texts, numbers, booleans and None", "metadata_not_flat")
