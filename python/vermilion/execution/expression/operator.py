"""Where programs for chromadb look for the filters and expressions of ranked searches."""

from __future__ import annotations

from typing import Any

from vermilion.search import (
    Abs,
    Aggregate,
    And,
    Div,
    Exp,
    GroupBy,
    K,
    Key,
    Knn,
    Limit,
    Log,
    Max,
    MaxK,
    Min,
    MinK,
    Mul,
    Or,
    Rank,
    Rrf,
    Select,
    Sub,
    Sum,
    Val,
    Where,
)

__all__ = [
    "Abs",
    "Aggregate",
    "And",
    "Contains",
    "Div",
    "Eq",
    "Exp",
    "GroupBy",
    "Gt",
    "Gte",
    "In",
    "K",
    "Key",
    "Knn",
    "Limit",
    "Log",
    "Lt",
    "Lte",
    "Max",
    "MaxK",
    "Min",
    "MinK",
    "Mul",
    "Ne",
    "Nin",
    "NotContains",
    "NotRegex",
    "Or",
    "Rank",
    "Regex",
    "Rrf",
    "Select",
    "Sub",
    "Sum",
    "Val",
    "Where",
]


def Eq(key: Key | str, value: Any) -> Where:
    """Equal to this."""
    return Where(key, "$eq", value)


def Ne(key: Key | str, value: Any) -> Where:
    """Not equal to this."""
    return Where(key, "$ne", value)


def Gt(key: Key | str, value: Any) -> Where:
    """Greater than this."""
    return Where(key, "$gt", value)


def Gte(key: Key | str, value: Any) -> Where:
    """This or greater."""
    return Where(key, "$gte", value)


def Lt(key: Key | str, value: Any) -> Where:
    """Less than this."""
    return Where(key, "$lt", value)


def Lte(key: Key | str, value: Any) -> Where:
    """This or less."""
    return Where(key, "$lte", value)


def In(key: Key | str, values: list[Any]) -> Where:
    """Equal to one of these."""
    return Where(key, "$in", values)


def Nin(key: Key | str, values: list[Any]) -> Where:
    """Equal to none of these."""
    return Where(key, "$nin", values)


def Contains(key: Key | str, value: Any) -> Where:
    """The document holds this text, or the list of the field this element."""
    return Where(key, "$contains", value)


def NotContains(key: Key | str, value: Any) -> Where:
    """The opposite of :func:`Contains`."""
    return Where(key, "$not_contains", value)


def Regex(key: Key | str, pattern: str) -> Where:
    """The regular expression matches somewhere in the document."""
    return Where(key, "$regex", pattern)


def NotRegex(key: Key | str, pattern: str) -> Where:
    """The regular expression matches nowhere in the document."""
    return Where(key, "$not_regex", pattern)
