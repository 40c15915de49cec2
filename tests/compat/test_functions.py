"""Attached functions as the official Python client sees them."""

import time
import uuid

import pytest
from chromadb.api.functions import RECORD_COUNTER_FUNCTION, STATISTICS_FUNCTION, Function
from chromadb.errors import ChromaError, NotFoundError
from chromadb.utils import statistics


def fresh():
    return f"out-{uuid.uuid4().hex}"


def eventually(ask, expected):
    """On a busy machine an output may rest for a moment after it was filled."""
    deadline = time.monotonic() + 30
    while (found := ask()) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_statistics_are_read_with_the_helpers_of_the_client(collection):
    collection.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 2.0]] * 3,
        metadatas=[
            {"category": "A", "score": 10, "active": True},
            {"category": "B", "score": 10, "active": False},
            {"category": "A", "score": 20, "active": True},
        ],
    )
    output = fresh()
    attached, created = statistics.attach_statistics_function(collection, output)
    assert created and (attached.function_name, attached.output_collection) == ("statistics", output)
    assert statistics.get_statistics_fn(collection) == attached
    assert statistics.get_statistics(collection, output) == {
        "statistics": {
            "category": {"A": {"count": 2}, "B": {"count": 1}},
            "score": {"10": {"count": 2}, "20": {"count": 1}},
            "active": {"true": {"count": 2}, "false": {"count": 1}},
        },
        "summary": {"total_count": 3},
    }
    collection.delete(ids=["a"])
    collection.update(ids=["b"], metadatas=[{"category": "C"}])
    eventually(
        lambda: statistics.get_statistics(collection, output, keys=["category"]),
        {"statistics": {"category": {"A": {"count": 1}, "C": {"count": 1}}}, "summary": {"total_count": 2}},
    )
    assert statistics.detach_statistics_function(collection, delete_stats_collection=True)
    with pytest.raises(NotFoundError):
        statistics.get_statistics(collection, output)


def test_a_function_is_attached_once_and_detached_once(client, collection):
    output = fresh()
    ask = {"function": RECORD_COUNTER_FUNCTION, "name": "count", "output_collection": output}
    attached, created = collection.attach_function(**ask)
    again, created_again = collection.attach_function(**ask)
    assert (created, created_again) == (True, False) and attached == again
    collection.add(ids=["a", "b"], embeddings=[[1.0]] * 2)
    found = client.get_collection(output, embedding_function=None)
    assert "source_attached_function_id" in found._model.pretty_schema()
    eventually(lambda: found.get("function_output")["metadatas"], [{"total_count": 2}])
    taken = f"name=count, function=record_counter, output_collection={output}"
    with pytest.raises(ChromaError, match=taken):
        collection.attach_function(function=STATISTICS_FUNCTION, name="other", output_collection=fresh())
    with pytest.raises(ChromaError, match="cannot attach function to an output collection"):
        found.attach_function(function=STATISTICS_FUNCTION, name="s", output_collection=fresh())
    with pytest.raises(ChromaError, match="function not found"):
        found.attach_function(function=Function._NONEXISTENT_TEST_ONLY, name="s", output_collection=fresh())
    with pytest.raises(ChromaError, match="params must be empty"):
        found.attach_function(
            function=STATISTICS_FUNCTION, name="s", output_collection=fresh(), params={"k": 1}
        )
    with pytest.raises(ChromaError, match=r"Output collection \[.*\] already exists"):
        client.create_collection(fresh(), embedding_function=None).attach_function(
            function=STATISTICS_FUNCTION, name="s", output_collection=output
        )
    client.delete_collection(output)
    with pytest.raises(NotFoundError):
        collection.get_attached_function("count")
    with pytest.raises(NotFoundError, match="does not exist"):
        collection.detach_function("count")
