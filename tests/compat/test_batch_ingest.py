"""Batch ingest through the official client, which knows nothing of it."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

KEY = "vermilion:batch_ingest"


@pytest.fixture
def batched(client):
    name = f"batched-{uuid.uuid4().hex}"
    yield client.create_collection(name, metadata={KEY: True}, embedding_function=None)
    client.delete_collection(name)


def rows(tag, count):
    return {
        "ids": [f"{tag}-{n}" for n in range(count)],
        "embeddings": [[float(n), 1.0, 0.5] for n in range(count)],
        "documents": [f"document {n} of {tag}" for n in range(count)],
        "metadatas": [{"n": n, "tag": tag} for n in range(count)],
    }


def test_many_clients_add_and_count_sees_all_that_was_acknowledged(batched):
    def pour(writer):
        for batch in range(5):
            batched.add(**rows(f"w{writer}-{batch}", 200))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pour, range(8)))
    # The client asks for the level index_and_wal.
    assert batched.count() == 8 * 5 * 200
    got = batched.get(ids=["w3-4-199"])
    assert got["documents"] == ["document 199 of w3-4"]
    status = batched.get_indexing_status()
    assert status.total_ops == 8000
    assert status.num_indexed_ops + status.num_unindexed_ops == 8000


def test_every_kind_of_write_is_taken_and_kept_in_order(batched):
    batched.add(**rows("a", 10))
    batched.upsert(ids=["a-0", "b"], embeddings=[[9, 9, 9], [8, 8, 8]], documents=["new", "b"])
    batched.update(ids=["b"], metadatas=[{"seen": True}])
    batched.delete(ids=["a-1"])
    batched.delete(where={"n": {"$gte": 8}})
    assert batched.count() == 8
    got = batched.get(ids=["a-0", "b"])
    assert got["documents"] == ["new", "b"]
    assert got["metadatas"] == [{"n": 0, "tag": "a"}, {"seen": True}]


def test_the_way_of_a_collection_is_changed_by_its_metadata(client, batched):
    batched.modify(metadata={KEY: False, "k": 1})
    batched.add(**rows("a", 3))
    assert len(batched.get()["ids"]) == 3
    assert client.get_collection(batched.name, embedding_function=None).metadata == {KEY: False, "k": 1}


def test_what_was_acknowledged_survives_a_kill_and_is_indexed_afterwards(own_server):
    client = own_server.client()
    made = client.create_collection("killed", metadata={KEY: True}, embedding_function=None)
    for batch in range(20):
        made.add(**rows(f"b{batch}", 100))
    own_server.stop(9)
    own_server.start()
    again = own_server.client().get_collection("killed", embedding_function=None)
    assert again.count() == 2000
    deadline = time.monotonic() + 20
    while len(again.get()["ids"]) < 2000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while again.get_indexing_status().num_unindexed_ops:
        assert time.monotonic() < deadline, "nobody writes any more, so a segment comes to hold it all"
        time.sleep(0.05)
