"""The exceptions of the package: the classes that programs written for chromadb catch.

What is wrong with an argument is also a ``ValueError``, and a ``TypeError`` or an ``OverflowError`` where
chromadb raises that one, so that every way of catching it works.
"""

from __future__ import annotations

__all__ = [
    "ArgumentRangeError",
    "ArgumentTypeError",
    "AuthorizationError",
    "BatchSizeExceededError",
    "ChromaAuthError",
    "ChromaError",
    "ConflictError",
    "DuplicateIDError",
    "FileThereError",
    "IDAlreadyExistsError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidDimensionException",
    "InvalidHTTPVersion",
    "InvalidUUIDError",
    "NotFoundError",
    "PlaceNotFoundError",
    "QuotaError",
    "RateLimitError",
    "TransportError",
    "UniqueConstraintError",
    "UnreachableError",
    "VersionMismatchError",
]


class ChromaError(Exception):
    """The base of all errors of the database; raised itself where no other class fits."""

    #: The HTTP status that goes with it.
    status = 400
    #: Of a refusal by curation: its code, such as ``dimension_mismatch``.
    reason: str | None = None
    #: The field at fault.
    field: str | None = None
    #: The record at fault, from 0 on.
    row: int | None = None
    #: What is allowed.
    hint: str | None = None

    def code(self) -> int:
        """The HTTP status that goes with the error."""
        return self.status

    def message(self) -> str:
        """What was wrong, and what is allowed."""
        return ", ".join(str(part) for part in self.args)

    def __str__(self) -> str:
        places = [f"field {self.field}"] if self.field else []
        if self.row is not None:
            places.append(f"record {self.row}")
        place = f" ({', '.join(places)})" if places else ""
        return f"{super().__str__()}{place}" + (f" Hint: {self.hint}." if self.hint else "")

    @classmethod
    def name(cls) -> str:
        """The name of the class."""
        return cls.__name__


class InvalidArgumentError(ChromaError, ValueError):
    """The request is wrong; change it."""


class ArgumentTypeError(InvalidArgumentError, TypeError):
    """An argument is of another type than those that are allowed."""


class ArgumentRangeError(InvalidArgumentError, OverflowError):
    """A number is out of its range."""


class FileThereError(InvalidArgumentError, FileExistsError):
    """The file that was to be written is there already."""


class InvalidDimensionException(InvalidArgumentError):
    """Vectors do not have the dimension of the collection."""


class InvalidUUIDError(InvalidArgumentError):
    """An id of a collection is no UUID."""


class DuplicateIDError(InvalidArgumentError):
    """An id comes twice in one request."""


class BatchSizeExceededError(InvalidArgumentError):
    """More records than one request may have."""

    status = 413


class IDAlreadyExistsError(ChromaError):
    """A record with this id exists."""

    status = 409


class NotFoundError(ChromaError):
    """The thing named does not exist."""

    status = 404


class PlaceNotFoundError(NotFoundError, ValueError):
    """The tenant or the database that a client was to work in does not exist."""


class ConflictError(ChromaError):
    """Somebody else came first: the folder is open elsewhere, or what was read has changed."""

    status = 409


class UniqueConstraintError(ConflictError):
    """The name is taken."""


class AuthorizationError(ChromaError):
    """The key does not allow this."""

    status = 403


class ChromaAuthError(ChromaError):
    """The server asks for a key that it knows."""

    status = 401


class RateLimitError(ChromaError):
    """A limit is reached for now; try again later."""

    status = 429


class QuotaError(ChromaError):
    """What the tenant may have is used up."""


class VersionMismatchError(ChromaError):
    """Client and server do not understand each other."""

    status = 500


class InvalidHTTPVersion(ChromaError):
    """The server speaks no HTTP that is understood here."""


class InternalError(ChromaError):
    """A fault of the database or of the system below it."""

    status = 500


class TransportError(ChromaError, ConnectionError):
    """The server was not reached, or went away before it answered."""

    status = 503


class UnreachableError(TransportError, ValueError):
    """A client was not made, since its server was not reached."""


def at_record(error: InvalidArgumentError, row: int | None, field: str | None = None) -> InvalidArgumentError:
    """The same error, which tells the record at fault from now on.

    Args:
        error: The error.
        row: The number of the record, from 0 on; None where it is not one record.
        field: The column that is wrong.
    """
    error.row, error.field = row, field
    return error


_BY_STATUS: dict[int, type[ChromaError]] = {
    400: InvalidArgumentError,
    401: ChromaAuthError,
    403: AuthorizationError,
    404: NotFoundError,
    409: ConflictError,
    413: BatchSizeExceededError,
    415: InvalidArgumentError,
    422: InvalidArgumentError,
    429: RateLimitError,
    500: InternalError,
}


def of_answer(status: int, name: str, message: str) -> ChromaError:
    """The exception for an error that the engine or a server answered.

    Args:
        status: The HTTP status that goes with it.
        name: The name of the error in the body; other servers of the API tell more by it.
        message: What was wrong.
    """
    kind = globals().get(name)
    if not (isinstance(kind, type) and issubclass(kind, ChromaError)) or kind is ChromaError:
        kind = _BY_STATUS.get(status, ChromaError)
    if kind is ConflictError and message.endswith("already exists"):
        kind = UniqueConstraintError
    return kind(message)
