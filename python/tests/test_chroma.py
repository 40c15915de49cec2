"""The official client of chromadb on the embedded engine."""

import uuid

import numpy as np
import pytest

chromadb = pytest.importorskip("chromadb")

import vermilion  # noqa: E402
import vermilion.chroma  # noqa: E402


@pytest.fixture(params=["memory", "folder"])
def client(request, tmp_path):
    path = str(tmp_path) if request.param == "folder" else None
    made = chromadb.Client(vermilion.chroma.settings(path, allow_reset=True))
    made.reset()
    yield made
    made.clear_system_cache()


def test_official_client_runs_in_process(client):
    collection = client.create_collection("records", embedding_function=None, metadata={"k": 1})
    block = np.random.default_rng(3).standard_normal((40, 8), dtype=np.float32)
    sparse = chromadb.SparseVector([1, 4], [0.5, 1.5])
    collection.add(
        ids=[str(row) for row in range(40)],
        embeddings=block,
        documents=[f"text {row}" for row in range(40)],
        metadatas=[{"n": row, "s": sparse} for row in range(40)],
    )
    assert collection.count() == 40
    found = collection.query(query_embeddings=block[7], n_results=3, where={"n": {"$gt": 3}})
    assert found["ids"][0][0] == "7" and found["metadatas"][0][0]["s"] == sparse
    first = collection.get(ids=["0"], include=["embeddings", "documents"])
    np.testing.assert_array_equal(first["embeddings"][0], block[0])
    collection.update(ids=["0"], documents=["changed"], embeddings=block[:1])
    collection.upsert(ids=["new"], embeddings=block[:1])
    assert collection.get(where_document={"$contains": "chang"})["ids"] == ["0"]
    assert collection.delete(where={"n": {"$lt": 5}})["deleted"] == 5
    knn = chromadb.Knn(block[9].tolist(), limit=5)
    hits = collection.search(chromadb.Search().rank(knn).limit(1).select(chromadb.K.SCORE))
    assert hits["ids"] == [["9"]]
    collection.modify(name="renamed", metadata={"l": 2})
    assert client.get_collection("renamed", embedding_function=None).metadata == {"l": 2}
    assert collection.fork("forked").count() == 36
    assert collection.fork_count() == 1
    assert collection.get_indexing_status().total_ops > 40
    assert sorted(one.name for one in client.list_collections()) == ["forked", "renamed"]
    assert client.count_collections() == 2
    assert client.get_max_batch_size() == 100_000
    client.delete_collection("forked")


def test_errors_are_those_of_chromadb(client):
    with pytest.raises(chromadb.errors.NotFoundError, match="does not exist"):
        client.get_collection("nothing")
    client.create_collection("records", embedding_function=None)
    with pytest.raises(chromadb.errors.UniqueConstraintError, match="already exists"):
        client.create_collection("records", embedding_function=None)
    collection = client.get_collection("records", embedding_function=None)
    collection.add(ids="a", embeddings=[1.0, 2.0])
    with pytest.raises(chromadb.errors.InvalidArgumentError, match="dimension of 2, got 3"):
        collection.add(ids="b", embeddings=[1.0, 2.0, 3.0])


def test_resetting_is_refused_as_chromadb_does(tmp_path):
    client = chromadb.Client(vermilion.chroma.settings(str(tmp_path)))
    with pytest.raises(chromadb.errors.AuthorizationError, match="not allowed"):
        client.reset()
    client.clear_system_cache()


def test_both_clients_share_a_folder(tmp_path):
    theirs = chromadb.Client(vermilion.chroma.settings(str(tmp_path)))
    name = f"c-{uuid.uuid4().hex}"
    theirs.create_collection(name, embedding_function=None).add(ids="a", embeddings=[1.0, 2.0])
    with vermilion.PersistentClient(tmp_path) as ours:
        assert ours.get_collection(name).count() == 1
    theirs.clear_system_cache()


def test_other_implementations_are_still_chromadbs():
    settings = chromadb.config.Settings(chroma_api_impl="no.such.API")
    with pytest.raises(ValueError, match="Unsupported Chroma API implementation"):
        chromadb.Client(settings)
