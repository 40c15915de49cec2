"""Ranked searches: filters, expressions that score records, groups, pages and columns.

Lower scores are better. Every class has ``to_dict()``, the form that a request takes; searches can be
written in that form as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from vermilion.types import SparseVector


class Where:
    """A filter; ``&`` and ``|`` combine two."""

    def __init__(self, key: Any, operator: str, operand: Any) -> None:
        self._plain: dict[str, Any] = {str(key): {operator: operand}}

    def to_dict(self) -> dict[str, Any]:
        """The filter as it is in a request."""
        return self._plain

    def __and__(self, other: Where) -> Where:
        return _join("$and", self, other)

    def __or__(self, other: Where) -> Where:
        return _join("$or", self, other)

    def __repr__(self) -> str:
        return f"Where({self.to_dict()})"


def _join(operator: str, *filters: Where) -> Where:
    members: list[Any] = []
    for one in filters:
        plain = one.to_dict()
        members.extend(plain.get(operator, [plain]))
    joined = Where.__new__(Where)
    joined._plain = {operator: members}
    return joined


def And(conditions: Iterable[Where]) -> Where:
    """All of these."""
    return _join("$and", *conditions)


def Or(conditions: Iterable[Where]) -> Where:
    """One of these at least."""
    return _join("$or", *conditions)


class Key:
    """A metadata field, or one of ``Key.ID``, ``DOCUMENT``, ``EMBEDDING``, ``METADATA``, ``SCORE``.

    Compared with a value it makes a :class:`Where`: ``Key("year") >= 2020``.
    """

    ID: ClassVar[Key]
    DOCUMENT: ClassVar[Key]
    EMBEDDING: ClassVar[Key]
    METADATA: ClassVar[Key]
    SCORE: ClassVar[Key]

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Key({self.name!r})"

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, value: object) -> Where:  # type: ignore[override]
        return Where(self, "$eq", value)

    def __ne__(self, value: object) -> Where:  # type: ignore[override]
        return Where(self, "$ne", value)

    def __gt__(self, value: float) -> Where:
        return Where(self, "$gt", value)

    def __ge__(self, value: float) -> Where:
        return Where(self, "$gte", value)

    def __lt__(self, value: float) -> Where:
        return Where(self, "$lt", value)

    def __le__(self, value: float) -> Where:
        return Where(self, "$lte", value)

    def is_in(self, values: Iterable[Any]) -> Where:
        """Equal to one of these."""
        return Where(self, "$in", list(values))

    def not_in(self, values: Iterable[Any]) -> Where:
        """Equal to none of these."""
        return Where(self, "$nin", list(values))

    def contains(self, value: Any) -> Where:
        """The document holds this text, or the list of the field this element."""
        return Where(self, "$contains", value)

    def not_contains(self, value: Any) -> Where:
        """The opposite of :meth:`contains`."""
        return Where(self, "$not_contains", value)

    def regex(self, pattern: str) -> Where:
        """The regular expression matches somewhere in the document."""
        return Where(self, "$regex", pattern)

    def not_regex(self, pattern: str) -> Where:
        """The regular expression matches nowhere in the document."""
        return Where(self, "$not_regex", pattern)


for _name in ("ID", "DOCUMENT", "EMBEDDING", "METADATA", "SCORE"):
    setattr(Key, _name, Key("#" + _name.lower()))
K = Key


class Rank:
    """An expression that scores records; numbers and expressions combine with ``+ - * /``."""

    def __init__(self, plain: dict[str, Any]) -> None:
        self._plain = plain

    def to_dict(self) -> dict[str, Any]:
        """The expression as it is in a request."""
        return self._plain

    def __repr__(self) -> str:
        return f"Rank({self.to_dict()})"

    def __add__(self, other: Rank | float) -> Rank:
        return _fold("$sum", self, other)

    def __radd__(self, other: float) -> Rank:
        return _fold("$sum", other, self)

    def __mul__(self, other: Rank | float) -> Rank:
        return _fold("$mul", self, other)

    def __rmul__(self, other: float) -> Rank:
        return _fold("$mul", other, self)

    def __sub__(self, other: Rank | float) -> Rank:
        return _pair("$sub", self, other)

    def __rsub__(self, other: float) -> Rank:
        return _pair("$sub", other, self)

    def __truediv__(self, other: Rank | float) -> Rank:
        return _pair("$div", self, other)

    def __rtruediv__(self, other: float) -> Rank:
        return _pair("$div", other, self)

    def __neg__(self) -> Rank:
        return _fold("$mul", -1, self)

    def __abs__(self) -> Rank:
        return Rank({"$abs": self.to_dict()})

    def abs(self) -> Rank:
        """Without its sign."""
        return abs(self)

    def exp(self) -> Rank:
        """e to the power of it."""
        return Rank({"$exp": self.to_dict()})

    def log(self) -> Rank:
        """Its natural logarithm."""
        return Rank({"$log": self.to_dict()})

    def max(self, other: Rank | float) -> Rank:
        """The larger of both."""
        return _fold("$max", self, other)

    def min(self, other: Rank | float) -> Rank:
        """The smaller of both."""
        return _fold("$min", self, other)


def _operand(value: Any) -> dict[str, Any]:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return value if isinstance(value, dict) else {"$val": value}


def _fold(operator: str, *operands: Any) -> Rank:
    members: list[Any] = []
    for one in operands:
        plain = _operand(one)
        members.extend(plain.get(operator, [plain]))
    return Rank({operator: members})


def _pair(operator: str, left: Any, right: Any) -> Rank:
    return Rank({operator: {"left": _operand(left), "right": _operand(right)}})


def Val(value: float) -> Rank:
    """The same score for every record."""
    return Rank({"$val": value})


def Sum(ranks: Iterable[Any]) -> Rank:
    """All of these added."""
    return _fold("$sum", *ranks)


def Mul(ranks: Iterable[Any]) -> Rank:
    """All of these multiplied."""
    return _fold("$mul", *ranks)


def Max(ranks: Iterable[Any]) -> Rank:
    """The largest of these."""
    return _fold("$max", *ranks)


def Min(ranks: Iterable[Any]) -> Rank:
    """The smallest of these."""
    return _fold("$min", *ranks)


def Sub(left: Any, right: Any) -> Rank:
    """The first less the second."""
    return _pair("$sub", left, right)


def Div(left: Any, right: Any) -> Rank:
    """The first by the second."""
    return _pair("$div", left, right)


def Abs(rank: Rank) -> Rank:
    """Without its sign."""
    return rank.abs()


def Exp(rank: Rank) -> Rank:
    """e to the power of it."""
    return rank.exp()


def Log(rank: Rank) -> Rank:
    """Its natural logarithm."""
    return rank.log()


class Knn(Rank):
    """The nearest records to a vector, each with its distance as its score.

    Args:
        query: Numbers, a :class:`vermilion.SparseVector`, or a text, which the collection embeds.
        key: The vectors that are compared: ``Key.EMBEDDING`` or a metadata field.
        limit: How many records get a score.
        default: The score of all others; without one they have none.
        return_rank: Whether the score is the place among the nearest, from 0.
    """

    def __init__(
        self,
        query: Any,
        key: Key | str = "#embedding",
        limit: int = 16,
        default: float | None = None,
        return_rank: bool = False,
    ) -> None:
        self.query = query
        self.key = str(key)
        self.limit = limit
        self.default = default
        self.return_rank = return_rank

    def to_dict(self) -> dict[str, Any]:
        query = self.query
        if isinstance(query, SparseVector):
            query = query.to_dict()
        elif hasattr(query, "tolist"):
            query = query.tolist()
        knn = {"query": query, "key": self.key, "limit": self.limit}
        if self.default is not None:
            knn["default"] = self.default
        if self.return_rank:
            knn["return_rank"] = True
        return {"$knn": knn}


def Rrf(
    ranks: list[Rank],
    k: int = 60,
    weights: list[float] | None = None,
    normalize: bool = False,
) -> Rank:
    """Reciprocal rank fusion: the sum of ``weight / (k + place)`` of each of ``ranks``, negated.

    Args:
        ranks: Expressions that give places: ``Knn(..., return_rank=True)``.
        k: What keeps the first places from counting too much.
        weights: What each of ``ranks`` counts; 1 where not given.
        normalize: Whether the weights are brought to the sum 1.
    """
    told = weights if weights is not None else [1.0] * len(ranks)
    if not ranks or k <= 0 or len(told) != len(ranks) or any(weight < 0 for weight in told):
        raise ValueError(
            "Rrf takes at least one rank, k above 0, and as many weights from 0 on as there are ranks"
        )
    if normalize:
        total = sum(told)
        if total == 0:
            raise ValueError("The weights of Rrf cannot be normalized: their sum is 0")
        told = [weight / total for weight in told]
    parts = [Val(weight) / (Val(k) + rank) for weight, rank in zip(told, ranks)]
    return -(parts[0] if len(parts) == 1 else Sum(parts))


class Aggregate:
    """What keeps some records of each group: :class:`MinK` or :class:`MaxK`."""

    operator = ""

    def __init__(self, keys: Any, k: int) -> None:
        self.keys = _names(keys)
        self.k = k

    def to_dict(self) -> dict[str, Any]:
        """The aggregate as it is in a request."""
        return {self.operator: {"keys": self.keys, "k": self.k}}


class MinK(Aggregate):
    """Keeps the ``k`` records of each group with the smallest values of ``keys``."""

    operator = "$min_k"


class MaxK(Aggregate):
    """Keeps the ``k`` records of each group with the largest values of ``keys``."""

    operator = "$max_k"


class GroupBy:
    """Records with equal values of ``keys`` make a group, of which ``aggregate`` keeps some."""

    def __init__(self, keys: Any = (), aggregate: MinK | MaxK | None = None) -> None:
        self.keys = _names(keys)
        self.aggregate = aggregate

    def to_dict(self) -> dict[str, Any]:
        """The groups as they are in a request."""
        if self.aggregate is None:
            return {"keys": self.keys} if self.keys else {}
        return {"keys": self.keys, "aggregate": self.aggregate.to_dict()}


class Limit:
    """A page: ``limit`` records behind the first ``offset``."""

    def __init__(self, offset: int = 0, limit: int | None = None) -> None:
        self.offset = offset
        self.limit = limit

    def to_dict(self) -> dict[str, Any]:
        """The page as it is in a request."""
        page = {"offset": self.offset}
        if self.limit is not None:
            page["limit"] = self.limit
        return page


class Select:
    """Columns of an answer: ``Key.DOCUMENT`` and the like, or metadata fields."""

    def __init__(self, keys: Any = ()) -> None:
        self.keys = _names(keys)

    def to_dict(self) -> dict[str, Any]:
        """The columns as they are in a request."""
        return {"keys": self.keys}


def _names(keys: Any) -> list[str]:
    return [str(keys)] if isinstance(keys, (Key, str)) else [str(key) for key in keys]


class Search:
    """A search, put together step by step: ``Search().where(...).rank(...).limit(5).select(...)``.

    Each step answers a new search. Parts can also be given as dictionaries.
    """

    def __init__(
        self,
        where: Any = None,
        rank: Any = None,
        group_by: Any = None,
        limit: Any = None,
        select: Any = None,
    ) -> None:
        self._parts = {
            "where": where,
            "rank": rank,
            "group_by": group_by,
            "limit": Limit(limit=limit) if isinstance(limit, int) else limit,
            "select": Select(select) if isinstance(select, (list, set, tuple)) else select,
        }

    def _with(self, **parts: Any) -> Search:
        return Search(**{**self._parts, **parts})

    def where(self, where: Any) -> Search:
        """Which records may answer."""
        return self._with(where=where)

    def rank(self, rank: Any) -> Search:
        """How they are scored; without it they answer in their own order."""
        return self._with(rank=rank)

    def group_by(self, group_by: Any) -> Search:
        """How many of each group are kept."""
        return self._with(group_by=group_by)

    def limit(self, limit: Any, offset: int = 0) -> Search:
        """Which page."""
        return self._with(limit=Limit(offset, limit) if isinstance(limit, int) else limit)

    def select(self, *keys: Any) -> Search:
        """Which columns."""
        return self._with(select=Select(keys))

    def select_all(self) -> Search:
        """All columns."""
        return self.select(Key.DOCUMENT, Key.EMBEDDING, Key.METADATA, Key.SCORE)

    def to_dict(self) -> dict[str, Any]:
        """The search as it is in a request."""
        parts = {
            name: part.to_dict() if hasattr(part, "to_dict") else part
            for name, part in self._parts.items()
        }
        return {
            "filter": parts["where"] or None,
            "rank": parts["rank"],
            "group_by": parts["group_by"] or {},
            "limit": parts["limit"] or {"offset": 0},
            "select": parts["select"] or {"keys": []},
        }
