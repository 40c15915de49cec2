"""Filters that callers give: ``where`` for metadata, ``where_document`` for documents.

What must stay true: what chromadb refuses although the database would take it is refused here, so that a
program gets the same answer in process and over HTTP. All else is judged by the parser of the database.
"""

from __future__ import annotations

from typing import Any

from vermilion.errors import InvalidArgumentError
from vermilion.records import clause

_JOINS = ("$and", "$or")


def where(given: Any) -> dict[str, Any] | None:
    """A filter of metadata as a dictionary; an expression becomes one, and no filter is None.

    Raises:
        InvalidArgumentError: It is none.
    """
    plain = clause(given, "where")
    if plain is not None:
        _check_keys(plain)
    return plain


def where_document(given: Any) -> dict[str, Any] | None:
    """The same for a filter of documents."""
    plain = clause(given, "where_document")
    if plain is not None:
        _check_texts(plain)
    return plain


def _check_keys(part: dict[Any, Any]) -> None:
    for key, value in part.items():
        # JSON would make a string of it, and the filter would be another one.
        if not isinstance(key, str):
            raise InvalidArgumentError(f"Expected where key to be a str, got {key!r}")
        if key in _JOINS:
            for member in _members(value, "where"):
                _check_keys(member)


def _check_texts(part: dict[Any, Any]) -> None:
    for operator, operand in part.items():
        if operator in _JOINS:
            for member in _members(operand, "where_document"):
                _check_texts(member)
        elif isinstance(operand, str) and not operand:
            raise InvalidArgumentError(
                f"Expected where_document operand value for operator {operator} to be a non-empty str"
            )


def _members(given: Any, name: str) -> list[dict[Any, Any]]:
    """The filters that ``$and`` or ``$or`` joins, as far as they are dictionaries."""
    if isinstance(given, (list, tuple)) and len(given) < 2:
        raise InvalidArgumentError(
            f"Expected {name} value for $and or $or to be a list with at least two expressions, got {given!r}"
        )
    return [one for one in given if isinstance(one, dict)] if isinstance(given, (list, tuple)) else []
