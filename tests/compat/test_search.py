"""Ranked searches through the official client: filters, expressions, groups, columns."""

import uuid

import numpy as np
import pytest
from chromadb.execution.expression import GroupBy, K, Knn, MaxK, MinK, Rrf, Search
from chromadb.api.types import ReadLevel, Schema, SparseVector, SparseVectorIndexConfig
from chromadb.errors import InvalidArgumentError

VECTORS = np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)


def sparse(n):
    """A term of its own parity, one of its rest by five, one that all have."""
    return SparseVector(indices=[n % 2, 2 + n % 5, 100], values=[1.0 + n / 10, 2.0, 0.5])


@pytest.fixture
def filled(client):
    schema = Schema().create_index(key="sparse", config=SparseVectorIndexConfig())
    made = client.create_collection(f"s-{uuid.uuid4().hex}", schema=schema, embedding_function=None)
    made.add(
        ids=[f"r{n}" for n in range(40)],
        embeddings=VECTORS,
        documents=[f"text {n} " + ("even" if n % 2 == 0 else "odd") for n in range(40)],
        metadatas=[{"n": n, "group": "abc"[n % 3], "sparse": sparse(n)} for n in range(40)],
    )
    yield made
    client.delete_collection(made.name)


def by_distance(query):
    order = np.argsort(((VECTORS - query) ** 2).sum(axis=1), kind="stable")
    return [f"r{n}" for n in order]


def dot(a, b):
    weights = dict(zip(b.indices, b.values))
    return sum(value * weights.get(index, 0.0) for index, value in zip(a.indices, a.values))


def by_product(query):
    shared = [n for n in range(40) if set(sparse(n).indices) & set(query.indices)]
    return sorted(shared, key=lambda n: (np.float32(1 - dot(query, sparse(n))), n))


def test_a_search_ranks_filters_and_selects(filled):
    query = VECTORS[7] + 0.01
    search = (
        Search()
        .where((K("n") > 5) & K.DOCUMENT.contains("odd"))
        .rank(Knn(query=query, limit=30))
        .limit(4)
        .select(K.DOCUMENT, K.SCORE, "n")
    )
    found = filled.search(search)
    expected = [r for r in by_distance(query) if int(r[1:]) > 5 and int(r[1:]) % 2 == 1][:4]
    assert found["ids"] == [expected]
    assert found["documents"][0][0] == "text 7 odd"
    assert [m for m in found["metadatas"][0]] == [{"n": int(r[1:])} for r in expected]
    assert found["scores"][0] == sorted(found["scores"][0])
    assert found["embeddings"] == [None]
    assert found["select"] == [["#document", "#score", "n"]]


def test_without_a_rank_records_come_in_their_order(filled):
    found = filled.search(Search().where(K.ID.is_in(["r9", "r3", "zz"])).select_all())
    assert found["ids"] == [["r3", "r9"]]
    assert np.array_equal(np.asarray(found["embeddings"][0], dtype=np.float32), VECTORS[[3, 9]])
    page = filled.search(Search().limit(3, offset=2))
    assert page["ids"] == [["r2", "r3", "r4"]]


def test_several_searches_are_answered_together(filled):
    queries = VECTORS[[1, 5, 9]]
    found = filled.search([Search().rank(Knn(query=q)).limit(5) for q in queries])
    assert found["ids"] == [by_distance(q)[:5] for q in queries]


def test_arithmetic_and_defaults_mean_what_they_say(filled):
    knn = Knn(query=VECTORS[0], limit=5)
    expected = by_distance(VECTORS[0])[:5]
    scores = filled.search(Search().rank(knn).select(K.SCORE))["scores"][0]
    turned = filled.search(Search().rank((knn * 2 - 1).exp()).select(K.SCORE))
    assert turned["ids"] == [expected]
    assert np.allclose(turned["scores"][0], np.exp(np.array(scores) * 2 - 1), rtol=1e-5)
    other = Knn(query=VECTORS[1], limit=5, default=100.0)
    assert set(filled.search(Search().rank(knn + other))["ids"][0]) == set(expected)
    assert filled.search(Search().rank({"$val": 1.0}))["ids"] == [[]]


def test_groups_keep_the_best_or_the_largest(filled):
    query = VECTORS[0]
    groups = GroupBy(keys=K("group"), aggregate=MinK(keys=K.SCORE, k=2))
    found = filled.search(Search().rank(Knn(query=query, limit=40)).group_by(groups).limit(10))
    kept, seen = [], {"a": 0, "b": 0, "c": 0}
    for record in by_distance(query):
        group = "abc"[int(record[1:]) % 3]
        seen[group] += 1
        if seen[group] <= 2:
            kept.append(record)
    assert found["ids"] == [kept]
    groups = GroupBy(keys=K("group"), aggregate=MaxK(keys=K("n"), k=1))
    found = filled.search(Search().rank(Knn(query=query, limit=40)).group_by(groups))
    assert set(found["ids"][0]) == {"r39", "r38", "r37"}


def test_sparse_vectors_are_stored_and_searched(filled):
    assert filled.get(ids=["r4"])["metadatas"][0]["sparse"] == sparse(4)
    query = SparseVector(indices=[1, 4], values=[0.7, 1.3])
    found = filled.search(Search().rank(Knn(query=query, key="sparse", limit=10)).select(K.SCORE))
    expected = by_product(query)[:10]
    assert found["ids"] == [[f"r{n}" for n in expected]]
    assert np.allclose(found["scores"][0], [1 - dot(query, sparse(n)) for n in expected], rtol=1e-6)
    some = filled.search(Search().where(K("n") < 6).rank(Knn(query=query, key="sparse")))
    assert some["ids"] == [[f"r{n}" for n in by_product(query) if n < 6]]


def test_ranks_of_dense_and_sparse_vectors_are_fused(filled):
    dense, words = VECTORS[11], SparseVector(indices=[1, 3], values=[1.0, 1.0])
    ranks = [
        Knn(query=dense, limit=20, return_rank=True, default=1000.0),
        Knn(query=words, key="sparse", limit=20, return_rank=True, default=1000.0),
    ]
    found = filled.search(Search().rank(Rrf(ranks, weights=[2.0, 1.0], normalize=True)).limit(8).select(K.SCORE))
    places = [{r: at for at, r in enumerate(by_distance(dense)[:20])}]
    places.append({f"r{n}": at for at, n in enumerate(by_product(words)[:20])})
    fused = {
        f"r{n}": -(2 / 3 / (60 + places[0].get(f"r{n}", 1000)) + 1 / 3 / (60 + places[1].get(f"r{n}", 1000)))
        for n in range(40)
        if f"r{n}" in places[0] or f"r{n}" in places[1]
    }
    best = sorted(fused, key=lambda r: (np.float32(fused[r]), int(r[1:])))[:8]
    assert found["ids"] == [best]
    assert np.allclose(found["scores"][0], [fused[r] for r in best], rtol=1e-5)


def test_every_read_level_is_taken(filled):
    for level in ReadLevel:
        found = filled.search(Search().rank(Knn(query=VECTORS[0])), read_level=level)
        assert found["ids"][0][0] == "r0"


def test_wrong_searches_are_refused(filled):
    with pytest.raises(InvalidArgumentError, match="dimension of 8, got 2"):
        filled.search(Search().rank(Knn(query=[1.0, 2.0])))
    words = SparseVector(indices=[1], values=[1.0])
    with pytest.raises(InvalidArgumentError, match="Cannot rank by metadata key 'n'"):
        filled.search(Search().rank(Knn(query=words, key="n")))


def test_sparse_vectors_survive_a_restart(own_server):
    schema = Schema().create_index(key="sparse", config=SparseVectorIndexConfig(bm25=True))
    made = own_server.client().create_collection("kept", schema=schema, embedding_function=None)
    made.add(ids=[str(n) for n in range(40)], embeddings=VECTORS, metadatas=[{"sparse": sparse(n)} for n in range(40)])
    search = Search().rank(Knn(query=SparseVector(indices=[1, 4], values=[1.0, 1.0]), key="sparse")).select(K.SCORE)
    before = made.search(search)
    own_server.stop()
    own_server.start()
    again = own_server.client().get_collection("kept", embedding_function=None)
    assert again.search(search) == before
    assert again.schema.keys["sparse"].sparse_vector.sparse_vector_index.config.bm25
