"""Sparse vectors that a collection makes of texts by itself: keys of a schema with a source and a function."""

import uuid

import numpy as np
import pytest

import vermilion
from vermilion import K, Knn, Search, errors, embedding_functions as functions


@functions.register_embedding_function
class Letters(functions.SparseEmbeddingFunction):
    """A small deterministic function: how often each letter is in a text; queries count each once."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, input):
        return [self._vector(text, text.count) for text in input]

    def embed_query(self, input):
        return [self._vector(text, lambda letter: 1) for text in input]

    def _vector(self, text, weight):
        letters = sorted(set(text))
        return vermilion.SparseVector([ord(one) for one in letters], [self.factor * weight(one) for one in letters])

    @staticmethod
    def name():
        return "letters"

    @staticmethod
    def build_from_config(config):
        return Letters(**config)

    def get_config(self):
        return {"factor": self.factor}


class Plain(Letters):
    """The same with numbers of NumPy in dictionaries, as other packages answer them."""

    def __call__(self, input):
        made = super().__call__(input)
        return [{"indices": np.array(one.indices), "values": np.array(one.values)} for one in made]

    @staticmethod
    def name():
        return "plain_letters"

    @staticmethod
    def build_from_config(config):
        return Plain(**config)


functions.register_embedding_function(Plain)


def made_with(client, function=None, source=K.DOCUMENT, key="letters"):
    schema = vermilion.Schema()
    config = vermilion.SparseVectorIndexConfig(source_key=source, embedding_function=function or Letters(2.0))
    schema.create_index(config, key=key)
    return client.create_collection(f"s-{uuid.uuid4().hex}", schema=schema, embedding_function=None)


def vectors(collection, key="letters"):
    return [(one or {}).get(key) for one in collection.get()["metadatas"]]


def test_vectors_are_made_of_documents_and_found_by_texts(client):
    collection = made_with(client)
    given = vermilion.SparseVector([5], [9.0])
    metadatas = [None, {"n": 1}, {"letters": given}, {"n": 3}]
    documents = ["aab", "bc", "zzz", None]
    collection.add(["a", "b", "c", "d"], np.eye(4, dtype=np.float32), metadatas, documents)
    assert metadatas == [None, {"n": 1}, {"letters": given}, {"n": 3}], "what was given is as it was"
    expected = [vermilion.SparseVector([97, 98], [4, 2]), vermilion.SparseVector([98, 99], [2, 2]), given, None]
    assert vectors(collection) == expected
    # Another client finds the function with the collection.
    again = client.get_collection(collection.name, embedding_function=None)
    search = Search().rank(Knn("ab", key="letters", limit=10)).select(K.SCORE)
    found = again.search(search)
    assert found["ids"][0] == ["a", "b"]
    # The query counts each letter once: 2*4 + 2*2 and 2*2.
    assert found["scores"][0][0] - found["scores"][0][1] == pytest.approx(-8.0)
    again.update("b", [0, 1, 0, 0], documents="aaaa")
    assert vectors(collection)[1] == vermilion.SparseVector([97], [8])
    assert collection.get("b")["metadatas"][0]["n"] == 1
    again.upsert("e", [1, 0, 0, 0], documents="q")
    assert vectors(collection)[4] == vermilion.SparseVector([113], [2])
    again.ingest([{"id": "f", "embedding": [1, 0, 0, 0], "document": "xx"}])
    assert vectors(collection)[5] == vermilion.SparseVector([120], [4])


def test_vectors_are_made_of_other_keys_and_by_functions_of_other_packages(client):
    collection = made_with(client, Plain(), source="title", key="s")
    metadatas = [{"title": "ab"}, {"title": 7}, {"other": "ab"}, {"title": "ab", "s": vermilion.SparseVector([1], [1])}]
    collection.add(["a", "b", "c", "d"], np.eye(4, dtype=np.float32), metadatas, ["zz"] * 4)
    expected = [vermilion.SparseVector([97, 98], [1, 1]), None, None, vermilion.SparseVector([1], [1])]
    assert vectors(collection, "s") == expected


def test_functions_that_are_not_known_or_answer_wrongly_are_named(client, monkeypatch):
    collection = made_with(client)
    with pytest.raises(errors.InvalidArgumentError, match="no embedding function for it"):
        collection.search(Search().rank(Knn("ab", key="other")))
    monkeypatch.setattr(Letters, "__call__", lambda self, input: [])
    with pytest.raises(errors.InvalidArgumentError, match="made 0 vectors of 1 texts"):
        collection.add("a", [1.0, 2.0], documents="x")
    monkeypatch.setattr(Letters, "__call__", lambda self, input: [[1.0]])
    with pytest.raises(errors.InvalidArgumentError, match="must make SparseVectors"):
        collection.add("a", [1.0, 2.0], documents="x")
    monkeypatch.delitem(functions.known_embedding_functions, "letters")
    unknown = client.get_collection(collection.name, embedding_function=None)
    for call in (
        lambda: unknown.add("a", [1.0, 2.0], documents="x"),
        lambda: unknown.search(Search().rank(Knn("ab", key="letters"))),
    ):
        with pytest.raises(errors.InvalidArgumentError, match="'letters', which is not known here"):
            call()
    assert unknown.count() == 0
    unknown.add("a", [1.0, 2.0], metadatas={"letters": vermilion.SparseVector([1], [1])}, documents="x")
    unknown.add("b", [1.0, 2.0])
    assert unknown.count() == 2
