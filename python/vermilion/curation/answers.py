"""What curation answers: dictionaries as they came, whose members are attributes too, and lists of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar


class Answer(dict[str, Any]):
    """An object that the server answered; ``one.trouble`` is ``one["trouble"]``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            there = ", ".join(self)
            raise AttributeError(f"The answer has no {name}; it has {there}") from None


class Assessment(Answer):
    """What is to be thought of a record or a vector."""

    #: The record; a vector that is not stored has none.
    id: str
    #: How likely the model is wrong there, or has never seen its like: 0 to 1, or None where nothing can be said.
    trouble: float | None
    #: Each signal with its ``value`` and its ``percentile`` (0 to 1) among production.
    parts: dict[str, dict[str, float]]
    #: Signals that could not be computed.
    missing: list[str]
    #: The class that the model said, or the server in its place.
    inferred_class: str | None
    #: ``model`` or ``server``.
    inferred_by: str | None
    #: Whether to label it and to train on it: trouble from 0.75 on.
    training_recommended: bool
    #: Whether its label would tell nothing new: trouble below 0.25.
    not_useful: bool
    #: Why, in words.
    reasons: list[str]
    #: The nearest training records: ``id``, ``label_class``, and ``distance`` between unit vectors (0 to 2).
    nearest_training: list[dict[str, Any]]


class Recommendation(Answer):
    """An entry of the list of what to label."""

    #: Its place, from 1 on.
    rank: int
    #: The record.
    id: str
    #: The input that it is of.
    input_uri: str | None
    #: What labelling it covers, as a share of what the first entry covers: falls from 1.
    priority: float
    #: How much of the uncertain mass the list covers up to here: 0 to 1.
    coverage: float
    #: How many of its 15 nearest neighbours in production it stands for: no entry before it covers them as much.
    stands_for: int
    #: As in an assessment.
    trouble: float | None
    #: The class that the model said, or the server in its place.
    inferred_class: str | None
    #: ``open``, or what was decided.
    state: str


Entry = TypeVar("Entry", bound=Answer)


class Listed(list[Entry], Generic[Entry]):
    """Entries in their order, with what the server said of the whole."""

    def __init__(self, entries: list[Entry], about: dict[str, Any]) -> None:
        super().__init__(entries)
        #: What else was answered: as of when it is, and how much there is.
        self.about = Answer(about)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "about":
            raise AttributeError(name)
        return getattr(self.about, name)

    def to_pandas(self) -> Any:
        """The entries as a DataFrame of pandas, a row for each.

        Raises:
            InvalidArgumentError: pandas is not installed.
        """
        from vermilion.ingest import _needed

        pandas = _needed("pandas", "DataFrames of pandas", "pandas")
        names = list(dict.fromkeys(name for one in self for name in one))
        return pandas.DataFrame({name: [one.get(name) for one in self] for name in names})


class Assessments(Listed[Assessment]):
    """Assessments in the order of what was asked; empty, and ``ready`` False, while there is no training data."""

    @property
    def ready(self) -> bool:
        """Whether records could be assessed."""
        return bool(self.about.get("ready"))


class Recommendations(Listed[Recommendation]):
    """What to label, most useful first.

    Its attributes besides: ``total`` entries of the whole list, ``coverage`` of its last one here (0 to 1), ``epoch`` and
    ``as_of_seq`` as of which it is, ``stale_records`` whose scores are older, ``degraded`` where it was made
    without training data. That of a large space is made in the background: ``ready`` says whether it is of the records
    as they are, ``making`` how far the next one is.
    """


class Issue(Answer):
    """Something that is wrong with the data."""

    #: ``label``, ``leak``, ``near_duplicate``, ``outlier``, ``unknown_class`` and so on.
    type: str
    #: Higher is worse.
    score: float
    #: What is wrong, in words.
    explanation: str


class Issues(Listed[Issue]):
    """Issues, worst first, type after type.

    Its attributes besides: ``total``, ``totals`` by type, ``ready`` (whether all records were looked at), ``not_ready`` (types
    of which not), ``estimated_errors`` by pair of classes, ``epoch``, ``as_of_seq``, ``stale_records``.
    """


@dataclass(frozen=True)
class Saved:
    """What a session or a file sent.

    Attributes:
        records: How many records.
        space: The space that has them; None where there were none.
        embedding_set_key: Its key.
        seconds: How long it took.
        torn: Whether the file ended within a line, which was left out: its writer died there.
    """

    records: int
    space: str | None
    embedding_set_key: str | None
    seconds: float
    torn: bool = False
