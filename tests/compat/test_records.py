"""Records through the official client: written, changed, deleted, read."""

import uuid

import numpy as np
import pytest
from chromadb.errors import ChromaError, InvalidArgumentError, NotFoundError


def fill(collection, count=20):
    collection.add(
        ids=[f"r{n}" for n in range(count)],
        embeddings=[[float(n), 1.0, 0.5] for n in range(count)],
        documents=[f"document number {n} " + ("even" if n % 2 == 0 else "odd") for n in range(count)],
        metadatas=[{"n": n, "half": n / 2, "even": n % 2 == 0, "name": f"n{n}"} for n in range(count)],
        uris=[f"file:///{n}" for n in range(count)],
    )


def ids(answer):
    return answer["ids"]


def test_what_is_added_is_read_back_as_it_was(collection):
    fill(collection)
    assert collection.count() == 20
    got = collection.get(ids=["r3"], include=["documents", "metadatas", "embeddings", "uris"])
    assert got["ids"] == ["r3"]
    assert got["documents"] == ["document number 3 odd"]
    assert got["metadatas"] == [{"n": 3, "half": 1.5, "even": False, "name": "n3"}]
    assert np.array_equal(got["embeddings"], [[3.0, 1.0, 0.5]])
    assert got["uris"] == ["file:///3"]


def test_embeddings_come_back_bit_for_bit(client):
    vectors = np.random.default_rng(7).normal(size=(50, 96)).astype(np.float32)
    for space in ["l2", "cosine", "ip"]:
        name = f"bits-{space}-{uuid.uuid4().hex}"
        made = client.create_collection(name, configuration={"hnsw": {"space": space}}, embedding_function=None)
        made.add(ids=[str(n) for n in range(50)], embeddings=vectors)
        got = made.get(include=["embeddings"])
        assert np.array_equal(np.asarray(got["embeddings"], dtype=np.float32), vectors)
        client.delete_collection(name)


def test_an_add_of_an_existing_id_changes_nothing(collection):
    fill(collection, 2)
    collection.add(ids=["r0", "new"], embeddings=[[9, 9, 9], [8, 8, 8]], documents=["other", "new"])
    assert collection.get(ids=["r0"])["documents"] == ["document number 0 even"]
    assert collection.count() == 3


def test_an_update_changes_what_it_names_and_merges_metadata(collection):
    fill(collection, 3)
    collection.update(ids=["r1", "missing"], metadatas=[{"n": 100, "extra": "x"}, {"n": 1}])
    got = collection.get(ids=["r1"], include=["documents", "metadatas", "embeddings"])
    assert got["documents"] == ["document number 1 odd"]
    assert got["metadatas"] == [{"n": 100, "half": 0.5, "even": False, "name": "n1", "extra": "x"}]
    assert np.array_equal(got["embeddings"], [[1.0, 1.0, 0.5]])
    # Without embeddings of ours the client would make some from the documents.
    collection.update(ids=["r1"], embeddings=[[4.0, 4.0, 4.0]], documents=["changed"])
    got = collection.get(ids=["r1"], include=["documents", "metadatas", "embeddings"])
    assert got["documents"] == ["changed"]
    assert got["metadatas"][0]["extra"] == "x"
    assert np.array_equal(got["embeddings"], [[4.0, 4.0, 4.0]])
    assert collection.count() == 3


def test_an_upsert_inserts_and_changes_and_keeps_the_order(collection):
    fill(collection, 3)
    collection.upsert(ids=["r1", "z"], embeddings=[[7, 7, 7], [8, 8, 8]], documents=["one", "two"])
    assert ids(collection.get()) == ["r0", "r1", "r2", "z"]
    assert collection.get(ids=["r1"])["documents"] == ["one"]


def test_records_are_deleted_by_id_by_filter_and_by_text(collection):
    fill(collection)
    collection.delete(ids=["r0", "r1"])
    assert collection.count() == 18
    collection.delete(where={"n": {"$gte": 18}})
    assert collection.count() == 16
    collection.delete(where_document={"$contains": "odd"})
    assert ids(collection.get()) == [f"r{n}" for n in range(2, 18, 2)]


def test_a_record_deleted_and_added_again_comes_last(collection):
    fill(collection, 3)
    collection.delete(ids=["r0"])
    collection.add(ids=["r0"], embeddings=[[5, 5, 5]])
    assert ids(collection.get()) == ["r1", "r2", "r0"]
    assert collection.get(ids=["r0"])["documents"] == [None]


def test_limit_and_offset_page_through_the_records(collection):
    fill(collection)
    pages = [ids(collection.get(limit=7, offset=offset)) for offset in (0, 7, 14, 21)]
    assert [len(page) for page in pages] == [7, 7, 6, 0]
    assert sum(pages, []) == [f"r{n}" for n in range(20)]


@pytest.mark.parametrize(
    "where, expected",
    [
        ({"n": 3}, [3]),
        ({"n": {"$ne": 3}}, [0, 1, 2, 4, 5]),
        ({"n": {"$gt": 3}}, [4, 5]),
        ({"n": {"$gte": 2.5}}, [3, 4, 5]),
        ({"half": {"$lt": 1}}, [0, 1]),
        ({"half": {"$lte": 1}}, [0, 1, 2]),
        ({"name": {"$in": ["n1", "n4", "other"]}}, [1, 4]),
        ({"name": {"$nin": ["n1", "n4"]}}, [0, 2, 3, 5]),
        ({"even": True}, [0, 2, 4]),
        ({"missing": {"$ne": 1}}, [0, 1, 2, 3, 4, 5]),
        ({"missing": 1}, []),
        ({"n": "3"}, []),
        ({"$and": [{"even": True}, {"n": {"$gt": 1}}]}, [2, 4]),
        ({"$or": [{"n": 0}, {"$and": [{"n": 5}, {"even": False}]}]}, [0, 5]),
    ],
)
def test_filters_select_by_metadata(collection, where, expected):
    fill(collection, 6)
    assert ids(collection.get(where=where)) == [f"r{n}" for n in expected]
    found = collection.query(query_embeddings=[[0, 1, 0.5]], n_results=10, where=where)
    assert found["ids"][0] == [f"r{n}" for n in expected]


@pytest.mark.parametrize(
    "where_document, expected",
    [
        ({"$contains": "even"}, [0, 2, 4]),
        ({"$contains": "Even"}, []),
        ({"$not_contains": "even"}, [1, 3, 5]),
        ({"$regex": "number [0-2] "}, [0, 1, 2]),
        ({"$not_regex": "number [0-2] "}, [3, 4, 5]),
        ({"$and": [{"$contains": "odd"}, {"$not_contains": "3"}]}, [1, 5]),
        ({"$or": [{"$contains": "0"}, {"$contains": "5"}]}, [0, 5]),
    ],
)
def test_filters_select_by_document(collection, where_document, expected):
    fill(collection, 6)
    assert ids(collection.get(where_document=where_document)) == [f"r{n}" for n in expected]
    found = collection.query(query_embeddings=[[0, 1, 0.5]], n_results=10, where_document=where_document, where={"n": {"$gte": 0}})
    assert found["ids"][0] == [f"r{n}" for n in expected]


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_distances_are_exact_in_every_space(client, space):
    rng = np.random.default_rng(3)
    base, queries = rng.normal(size=(300, 24)), rng.normal(size=(4, 24))
    if space == "l2":
        expected = ((queries[:, None] - base[None]) ** 2).sum(-1)
    elif space == "ip":
        expected = 1 - queries @ base.T
    else:
        expected = 1 - (queries @ base.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(base, axis=1))
    name = f"space-{space}-{uuid.uuid4().hex}"
    made = client.create_collection(name, configuration={"hnsw": {"space": space}}, embedding_function=None)
    made.add(ids=[str(n) for n in range(300)], embeddings=base.tolist())
    found = made.query(query_embeddings=queries.tolist(), n_results=10, include=["distances"])
    for row in range(4):
        order = np.argsort(expected[row])[:10]
        assert found["ids"][row] == [str(n) for n in order]
        assert np.allclose(found["distances"][row], expected[row][order], atol=1e-5)
    client.delete_collection(name)


def test_a_large_batch_goes_in_whole(collection):
    vectors = np.random.default_rng(1).normal(size=(20_000, 16)).astype(np.float32)
    collection.add(ids=[str(n) for n in range(20_000)], embeddings=vectors)
    assert collection.count() == 20_000


def test_wrong_requests_are_refused_and_change_nothing(client, collection):
    fill(collection, 2)
    with pytest.raises(InvalidArgumentError, match="dimension of 3, got 2"):
        collection.add(ids=["x"], embeddings=[[1.0, 2.0]])
    with pytest.raises(InvalidArgumentError, match="dimension of 3, got 4"):
        collection.query(query_embeddings=[[1, 2, 3, 4]])
    with pytest.raises(NotFoundError):
        client.get_collection("no-such-collection")
    with pytest.raises(ChromaError, match="already exists"):
        client.create_collection(collection.name)
    assert collection.count() == 2
