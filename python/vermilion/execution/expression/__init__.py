"""Where programs for chromadb look for the parts of ranked searches, all in one place."""

from vermilion.execution.expression import operator, plan
from vermilion.execution.expression.operator import *  # noqa: F403
from vermilion.execution.expression.operator import Where
from vermilion.execution.expression.plan import Search

SearchWhere = Where

__all__ = [*operator.__all__, "Search", "SearchWhere", "operator", "plan"]
