"""Forks, versions and the indexing status as the official Python client sees them."""

import time
import uuid

import pytest
from chromadb.errors import ChromaError


def fill(collection, tag, count=10):
    collection.add(ids=[f"{tag}{n}" for n in range(count)], embeddings=[[float(n), 1.0] for n in range(count)])


def test_a_fork_has_the_records_and_neither_side_sees_the_other(client, collection):
    fill(collection, "a")
    fork = collection.fork(f"f-{uuid.uuid4().hex}")
    assert fork.count() == 10
    fork.delete(ids=["a0"])
    fill(collection, "b", 3)
    assert (collection.count(), fork.count()) == (13, 9)
    again = fork.fork(f"g-{uuid.uuid4().hex}")
    assert [one.fork_count() for one in (collection, fork, again)] == [2, 2, 2]
    client.delete_collection(fork.name)
    assert again.get(ids=["a0", "a1"])["ids"] == ["a1"]
    assert collection.fork_count() == 1
    client.delete_collection(again.name)


def test_a_name_that_is_taken_is_refused(collection):
    with pytest.raises(ChromaError, match="already exists"):
        collection.fork(collection.name)


def test_the_version_rises_when_segments_hold_what_was_written(client, collection):
    fill(collection, "a")
    status = collection.get_indexing_status()
    assert (status.total_ops, status.num_indexed_ops, status.op_indexing_progress) == (10, 0, 0.0)
    deadline = time.monotonic() + 60
    while client.get_collection(collection.name, embedding_function=None).get_model()["version"] == 0:
        assert time.monotonic() < deadline, "nobody writes any more, so a segment comes to hold it all"
        time.sleep(0.2)
    status = collection.get_indexing_status()
    assert (status.num_indexed_ops, status.op_indexing_progress) == (10, 1.0)
