"""Where programs for chromadb look for what makes DataFrames of pandas of answers."""

from __future__ import annotations

from typing import Any

from vermilion.errors import InvalidArgumentError
from vermilion.types import GetResult, QueryResult

__all__ = ["get_result_to_df", "query_result_to_dfs"]


def query_result_to_dfs(query_result: QueryResult) -> list[Any]:
    """A DataFrame for each query, with the ids as its index and a column for each that was asked for.

    Raises:
        InvalidArgumentError: pandas is not installed. Also a ``ValueError``.
    """
    columns = _columns(query_result)
    return [
        _frame(ids, {name: column[number] for name, column in columns.items()})
        for number, ids in enumerate(query_result["ids"])
    ]


def get_result_to_df(get_result: GetResult) -> Any:
    """The same of the answer to ``get``: one DataFrame."""
    return _frame(get_result["ids"], _columns(get_result))


def _columns(result: Any) -> dict[str, Any]:
    """The columns that an answer has, under their names in the singular."""
    return {name.rstrip("s"): result[name] for name in result["included"] if result.get(name) is not None}


def _frame(ids: list[str], columns: dict[str, Any]) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise InvalidArgumentError("DataFrames need pandas, which is not installed: pip install pandas") from error
    plain = {name: column.tolist() if hasattr(column, "tolist") else column for name, column in columns.items()}
    return pandas.DataFrame({"id": ids, **plain}).set_index("id")
