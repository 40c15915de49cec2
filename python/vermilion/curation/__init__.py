"""Curation: log what a model sees, ask what to label and retrain on next.

    from vermilion import curation

    cur = curation.connect("http://localhost:8000")
    with cur.training({"model": "m", "version": "7"}, dataset="v7") as session:
        session.log(embeddings, input_uris, label_classes=labels)
    for one in cur.space({"model": "m", "version": "7"}).recommend(100):
        print(one.input_uri, one.reasons)

It works against a server; records and spaces are those of docs/guide/curation.md.
"""

from vermilion.curation.answers import (
    Answer,
    Assessment,
    Assessments,
    Issue,
    Issues,
    Recommendation,
    Recommendations,
    Saved,
)
from vermilion.curation.connection import Curation, connect
from vermilion.curation.lease import Lease
from vermilion.curation.session import Session
from vermilion.curation.space import Space

__all__ = [
    "Answer",
    "Assessment",
    "Assessments",
    "Curation",
    "Issue",
    "Issues",
    "Lease",
    "Recommendation",
    "Recommendations",
    "Saved",
    "Session",
    "Space",
    "connect",
]
