"""Records, written and read: the same over every transport."""

import numpy as np
import pytest

import vermilion
from vermilion import K, Knn, ReadLevel, Rrf, Search, SparseVector, _engine, metadata
from vermilion.errors import (
    BatchSizeExceededError,
    ChromaError,
    DuplicateIDError,
    InvalidArgumentError,
)

X = np.random.default_rng(7).standard_normal((50, 16), dtype=np.float32)
IDS = [f"id{number}" for number in range(50)]


def fill(collection):
    collection.add(
        ids=IDS,
        embeddings=X,
        documents=[f"document {number}" for number in range(50)],
        metadatas=[{"n": number, "even": number % 2 == 0} for number in range(50)],
        uris=[f"file:///{number}" for number in range(50)],
    )


def test_what_was_added_comes_back_as_it_was(collection):
    fill(collection)
    everything = collection.get(include=["embeddings", "documents", "metadatas", "uris"])
    assert everything["ids"] == IDS
    assert everything["embeddings"].dtype == np.float32
    np.testing.assert_array_equal(everything["embeddings"], X)
    assert everything["documents"][49] == "document 49"
    assert everything["metadatas"][3] == {"n": 3, "even": False}
    assert everything["uris"][1] == "file:///1"
    assert everything["included"] == ["embeddings", "documents", "metadatas", "uris"]
    assert collection.count() == 50
    assert collection.count(read_level=ReadLevel.INDEX_ONLY) <= 50


def test_metadata_keeps_its_types(collection):
    sparse = SparseVector([3, 70000], [0.5, -2.0], ["a", "b"])
    given = {
        "text": "ü\n\0",
        "int": -(2**63),
        "float": 1e-300,
        "true": True,
        "texts": ["a", "b"],
        "ints": [1, 2],
        "floats": [0.5, 2.0],
        "truths": [True, False],
        "sparse": sparse,
    }
    collection.add(ids="a", embeddings=[1.0, 2.0], metadatas=given)
    told = collection.get()["metadatas"][0]
    assert told == given
    assert {key: type(value) for key, value in told.items()} == {
        key: type(value) for key, value in given.items()
    }
    collection.update(ids="a", metadatas={"int": np.int64(7), "float": np.float32(0.5), "true": None})
    told = collection.get()["metadatas"][0]
    assert (told["int"], told["float"], "true" in told) == (7, 0.5, False)


@pytest.mark.parametrize(
    "vectors",
    [
        X[:2],
        np.asfortranarray(X[:2]),
        X[:4:2],
        X[:2].astype(np.float64),
        X[:2].tolist(),
        list(X[:2]),
        [tuple(row) for row in X[:2].tolist()],
        (X[:2] * 10).astype(np.int64),
    ],
    ids=["block", "fortran", "strided", "float64", "lists", "arrays", "tuples", "ints"],
)
def test_vectors_come_in_many_forms(collection, vectors):
    collection.add(ids=["a", "b"], embeddings=vectors)
    told = collection.get(include=["embeddings"])["embeddings"]
    np.testing.assert_array_equal(told, np.asarray(vectors, dtype=np.float32))


def test_the_array_stays_the_callers(collection):
    block = X[:2].copy()
    collection.add(ids=["a", "b"], embeddings=block)
    block[:] = 0
    np.testing.assert_array_equal(collection.get(include=["embeddings"])["embeddings"], X[:2])


def test_single_records_need_no_lists(collection):
    collection.upsert(ids="a", embeddings=[1, 2], documents="d", metadatas={"k": 1}, uris="u")
    found = collection.get("a", include=["documents", "metadatas", "uris"])
    assert (found["documents"], found["metadatas"], found["uris"]) == (["d"], [{"k": 1}], ["u"])


def test_add_leaves_what_exists_and_upsert_and_update_change_it(collection):
    collection.add(ids=["a"], embeddings=[[1, 2]], documents=["first"], metadatas=[{"k": 1, "l": 1}])
    collection.add(ids=["a", "b"], embeddings=[[3, 4], [5, 6]], documents=["second", "b"])
    assert collection.get()["documents"] == ["first", "b"]
    collection.upsert(ids=["a", "c"], embeddings=[[7, 8], [9, 9]], metadatas=[{"k": 2}, {"k": 3}])
    collection.update(ids=["b", "nobody"], documents=["changed", "nothing"], embeddings=[[0, 1], [0, 2]])
    found = collection.get(include=["documents", "metadatas", "embeddings"])
    assert found["ids"] == ["a", "b", "c"]
    assert found["documents"] == ["first", "changed", None]
    assert found["metadatas"] == [{"k": 2, "l": 1}, None, {"k": 3}]
    assert found["embeddings"].tolist() == [[7, 8], [0, 1], [9, 9]]


def test_query_answers_the_nearest_first(collection):
    fill(collection)
    distances = ((X[None, :, :] - X[:3, None, :]) ** 2).sum(-1)
    found = collection.query(query_embeddings=X[:3], n_results=5)
    for number in range(3):
        expected = np.argsort(distances[number])[:5]
        assert found["ids"][number] == [IDS[one] for one in expected]
        np.testing.assert_allclose(
            found["distances"][number], distances[number][expected], rtol=1e-5, atol=1e-5
        )
    assert found["embeddings"] is None and found["uris"] is None
    one = collection.query(query_embeddings=X[9].tolist(), n_results=2, include=["embeddings", "uris"])
    assert one["ids"][0][0] == "id9" and one["uris"][0][0] == "file:///9"
    np.testing.assert_array_equal(one["embeddings"][0][0], X[9])
    assert one["distances"] is None and one["included"] == ["embeddings", "uris"]
    exact = collection.query(query_embeddings=X[9], n_results=100, recall="exact")
    assert len(exact["ids"][0]) == 50


def test_filters_select_records(collection):
    fill(collection)
    assert collection.get(where={"n": {"$gte": 48}})["ids"] == ["id48", "id49"]
    assert collection.get(where={"n": {"$in": np.arange(2)}})["ids"] == ["id0", "id1"]
    assert collection.get(where=(K("n") < 4) & (K("even") == True))["ids"] == ["id0", "id2"]  # noqa: E712
    assert collection.get(where_document={"$contains": "ment 7"})["ids"] == ["id7"]
    assert collection.get(limit=2, offset=3)["ids"] == ["id3", "id4"]
    assert collection.get(ids=["id5", "nobody", "id4"])["ids"] == ["id4", "id5"]
    near = collection.query(query_embeddings=X[4], where={"even": False}, n_results=50)
    assert len(near["ids"][0]) == 25 and "id4" not in near["ids"][0]
    only = collection.query(query_embeddings=X[4], ids=["id1", "id2"], n_results=50)
    assert sorted(only["ids"][0]) == ["id1", "id2"]


def test_delete_takes_what_is_meant(collection):
    fill(collection)
    assert collection.delete(ids=["id0", "id1"]) == {"deleted": 2}
    assert collection.delete(where={"n": {"$lt": 10}}, limit=3) == {"deleted": 3}
    assert collection.delete(where_document={"$contains": "document 4"})["deleted"] == 10
    assert collection.count() == 35
    with pytest.raises(ValueError, match="At least one of ids, where, or where_document"):
        collection.delete()
    with pytest.raises(ValueError, match="non-empty list"):
        collection.delete(ids=[])


def test_peek_has_vectors(collection):
    fill(collection)
    first = collection.peek(3)
    assert first["ids"] == IDS[:3] and first["embeddings"].shape == (3, 16)
    assert collection.peek()["embeddings"].shape == (10, 16)


def test_empty_collections_answer_nothing(collection):
    found = collection.get(include=["embeddings"])
    assert found["ids"] == [] and len(found["embeddings"]) == 0
    assert collection.query(query_embeddings=[[1.0, 2.0]])["ids"] == [[]]
    assert collection.count() == 0


def test_searches_rank_group_and_select(collection):
    fill(collection)
    search = Search().where(K("n") >= 10).rank(Knn(X[20]) * 2 + 1).limit(2).select(K.SCORE, "n")
    other = Search(limit=1).select_all()
    found = collection.search([search, other])
    assert found["ids"][0][0] == "id20"
    assert found["scores"][0][0] == pytest.approx(1.0, abs=1e-4)
    assert found["metadatas"][0][0] == {"n": 20}
    rows = found.rows()
    assert rows[1][0]["document"] == "document 0" and len(rows[1][0]["embedding"]) == 16
    near = [Knn(X[one], limit=50, return_rank=True) for one in (3, 5)]
    fused = Rrf(near, weights=[1, 2])
    places = [((X - X[one]) ** 2).sum(-1).argsort().argsort() for one in (3, 5)]
    expected = np.argsort(-(1 / (60 + places[0]) + 2 / (60 + places[1])))[:4]
    assert collection.search(Search(rank=fused, limit=4))["ids"] == [[IDS[one] for one in expected]]


WRONG = [
    (lambda c: c.add(ids=[], embeddings=[]), "non-empty list"),
    (lambda c: c.add(ids=[1], embeddings=[[1.0]]), "Expected ID to be a str"),
    (lambda c: c.add(ids=["a", "a"], embeddings=[[1.0], [2.0]]), "found duplicates of: a"),
    (lambda c: c.add(ids=[""], embeddings=[[1.0]]), "at least one character"),
    (lambda c: c.add(ids=["a"]), "Expected embeddings, or documents"),
    (lambda c: c.add(ids=["a"], documents=["d"]), "embedding function"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0], [2.0]]), "embeddings: 2"),
    (lambda c: c.add(ids=["a", "b"], embeddings=[[1.0], [2.0, 3.0]]), "of one dimension"),
    (lambda c: c.add(ids=["a"], embeddings=[["x"]]), "values of the type str"),
    (lambda c: c.add(ids=["a"], embeddings=[[]]), "at least 1 dimension"),
    (lambda c: c.add(ids=["a"], embeddings=[[float("nan")]]), "NaN"),
    (lambda c: c.add(ids=["a"], embeddings=[[1e39]]), "NaN|Non-finite"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], documents=[1]), "list of str"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], documents=["d", "e"]), "documents: 2"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], metadatas=[{}]), "non-empty dict"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], metadatas=["m"]), "list of dict"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], metadatas={"#k": 1}), "metadata"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], metadatas={"k": {"a": 1}}), "key 'k' .field metadatas, record 0"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], metadatas={"k": [["a"]]}), "type list, under the key 'k'"),
    (lambda c: c.add(ids=["a"], embeddings=[[1.0]], metadatas={"k": object()}), "type object, under the key 'k'"),
    (lambda c: c.get(where={}), "exactly one operator"),
    (lambda c: c.get(where={"a": {"$foo": 1}}), "Invalid where clause: .foo is no operator here; .eq, "),
    (lambda c: c.get(where={"a": {"$gt": 1, "$lt": 3}}), "one key, got 2: .gt, .lt"),
    (lambda c: c.get(where={"a": {"$in": []}}), "in takes a list with at least one value"),
    (lambda c: c.get(where={"a": None}), "got null .key a"),
    (lambda c: c.get(where_document={"$foo": "x"}), "clause: .foo is no operator here; .contains, "),
    (lambda c: c.get(where_document={"$contains": 1}), "Invalid where document clause"),
    (lambda c: c.get(where_document={"$regex": "("}), "Regex syntax"),
    (lambda c: c.get(include=["nothing"]), "Expected include item"),
    (lambda c: c.get(include=["distances"]), "Expected include item"),
    (lambda c: c.get(limit=-1), "at least 0"),
    (lambda c: c.get(limit="2"), "to be a int"),
    (lambda c: c.query(query_embeddings=[[1.0]], n_results=0), "at least 1"),
    (lambda c: c.query(), "You must provide one of"),
    (lambda c: c.query(query_texts="x"), "embedding function"),
    (lambda c: c.query(query_embeddings=[[1.0]], recall=0.1), "from 0.8 to 0.999"),
    (lambda c: c.query(query_embeddings=[[1.0]], recall=float("nan")), "recall is nan; allowed are"),
    (lambda c: c.query(query_embeddings=[[1.0], [float("inf")]]), "NaN.*query_embeddings, record 1"),
    (lambda c: c.search({"foo": 1}), "Expected searches to be a Search or a list of them, got {'foo': 1}"),
    (lambda c: c.modify(metadata={"hnsw:space": "ip"}), "distance function"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_arguments_are_told_and_change_nothing(collection, call, message):
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        call(collection)
    assert isinstance(caught.value, (ChromaError, ValueError)) and caught.value.code() >= 400
    assert collection.count() == 0 and collection.get()["ids"] == []


TWO = {"ids": ["a", "b"], "embeddings": [[1.0, 2.0], [3.0, 4.0]]}
#: Calls with one record or query vector at fault: the column that is wrong, and its number.
AT_FAULT = {
    "dimensions differ": (lambda c: c.add(**{**TWO, "embeddings": [[1.0, 2.0], [1.0]]}), "embeddings", 1),
    "arrays differ": (lambda c: c.add(**{**TWO, "embeddings": [np.ones(2), np.ones(3)]}), "embeddings", 1),
    "the first is another": (lambda c: c.add(**{**TWO, "embeddings": [[1.0], [1.0, 2.0]]}), "embeddings", 0),
    "another dimension": (lambda c: c.add(ids=["a"], embeddings=[[1.0, 2.0, 3.0]]), "embeddings", 0),
    "empty vector": (lambda c: c.upsert(**{**TWO, "embeddings": [[1.0, 2.0], []]}), "embeddings", 1),
    "nested vector": (lambda c: c.add(**{**TWO, "embeddings": [[1.0, 2.0], [[3.0, 4.0]]]}), "embeddings", 1),
    "no vector": (lambda c: c.add(**{**TWO, "embeddings": [[1.0, 2.0], None]}), "embeddings", 1),
    "text": (lambda c: c.add(**{**TWO, "embeddings": [[1.0, 2.0], ["x", 2.0]]}), "embeddings", 1),
    "truth value": (lambda c: c.add(**{**TWO, "embeddings": [[1.0, 0.0], [False, 2.0]]}), "embeddings", 1),
    "NaN": (lambda c: c.add(**{**TWO, "embeddings": [[1.0, 2.0], [1.0, float("nan")]]}), "embeddings", 1),
    "empty id": (lambda c: c.add(**{**TWO, "ids": ["a", ""]}), "ids", 1),
    "empty id in upsert": (lambda c: c.upsert(**{**TWO, "ids": ["a", ""]}), "ids", 1),
    "number as id": (lambda c: c.add(**{**TWO, "ids": ["a", 5]}), "ids", 1),
    "id twice": (lambda c: c.add(**{**TWO, "ids": ["a", "a"]}), "ids", 1),
    "document": (lambda c: c.add(**TWO, documents=["x", 5]), "documents", 1),
    "uri": (lambda c: c.upsert(**TWO, uris=["x", b"y"]), "uris", 1),
    "metadata": (lambda c: c.add(**TWO, metadatas=[{"k": 1}, "x"]), "metadatas", 1),
    "no metadata": (lambda c: c.add(**TWO, metadatas=[{"k": 1}, {}]), "metadatas", 1),
    "key": (lambda c: c.update(**TWO, metadatas=[{"k": 1}, {1: 2}]), "metadatas", 1),
    "value": (lambda c: c.add(**TWO, metadatas=[{"k": 1}, {"k": {"a": 1}}]), "metadatas", 1),
    "no value": (lambda c: c.add(**TWO, metadatas=[{"k": 1}, {"k": None}]), "metadatas", 1),
    "infinite value": (lambda c: c.add(**TWO, metadatas=[{"k": 1}, {"k": float("inf")}]), "metadatas", 1),
    "values of many kinds": (lambda c: c.add(**TWO, metadatas=[{"k": 1}, {"k": [1, "x"]}]), "metadatas", 1),
    "reserved key": (lambda c: c.add(**TWO, metadatas=[None, {"chroma:document": "x"}]), "metadatas", 1),
    "query": (lambda c: c.query(query_embeddings=[[1.0, 2.0], [1.0]]), "query_embeddings", 1),
    "query of another dimension": (lambda c: c.query(query_embeddings=[[1.0]]), "query_embeddings", 0),
    "query text": (lambda c: c.query(query_embeddings=TWO["embeddings"], query_texts=["x", 5]), "query_texts", 1),
}


@pytest.mark.parametrize("case", AT_FAULT)
def test_errors_tell_the_record_at_fault(collection, case):
    collection.add(ids="kept", embeddings=[[0.5, 0.5]])
    call, field, row = AT_FAULT[case]
    with pytest.raises(InvalidArgumentError) as caught:
        call(collection)
    assert (caught.value.field, caught.value.row) == (field, row)
    assert collection.get()["ids"] == ["kept"]


def test_what_is_answered_belongs_to_the_caller(collection):
    block = np.ones((100, 4), np.float32)
    collection.add(ids=[str(row) for row in range(100)], embeddings=block)
    for found in (
        collection.get(include=["embeddings"])["embeddings"],
        collection.get(ids=["5"], include=["embeddings"])["embeddings"],
        collection.peek(80)["embeddings"],
        collection.query(query_embeddings=block[:1], include=["embeddings"])["embeddings"][0],
    ):
        found /= 2
        assert (found == 0.5).all()
    assert (collection.get(include=["embeddings"])["embeddings"] == 1).all()


def test_arrays_that_begin_anywhere_in_memory_are_read(collection):
    file = b"head!" + np.eye(4, dtype=np.float32).tobytes()
    block = np.frombuffer(file, np.uint8)[5:].view(np.float32).reshape(4, 4)
    assert not block.flags.aligned
    collection.add(ids=list("abcd"), embeddings=block)
    found = collection.query(query_embeddings=block, n_results=1)
    assert found["ids"] == [["a"], ["b"], ["c"], ["d"]]
    collection.upsert(ids=["a"], embeddings=block[1:2])
    assert collection.get(ids="a", include=["embeddings"])["embeddings"].tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize("wrong", [float("nan"), float("-inf"), 1e39])
def test_the_vector_with_a_number_that_is_none_is_named(collection, wrong):
    block = [[1.0, 2.0], [3.0, 4.0], [wrong, 5.0]]
    for call in (
        lambda: collection.add(ids=["a", "b", "c"], embeddings=block),
        lambda: collection.update(ids=["a", "b", "c"], embeddings=np.array(block)),
        lambda: collection.query(query_embeddings=block),
    ):
        with pytest.raises(InvalidArgumentError, match="NaN or Infinity") as caught:
            call()
        assert caught.value.row == 2 and caught.value.field.endswith("embeddings")
    assert collection.count() == 0


def test_the_record_with_metadata_that_cannot_be_held_is_named(collection):
    for value in ({"b": 1}, [{"b": 1}], object()):
        with pytest.raises(ValueError, match="under the key 'k'") as caught:
            collection.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[None, {"j": 1, "k": value}])
        assert caught.value.row == 1
    sparse = {"#type": "sparse_vector", "indices": [1], "values": [0.5]}
    collection.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"k": sparse, "n": np.int64(3)}])
    assert collection.get()["metadatas"][0]["n"] == 3


def test_where_nothing_is_found_vectors_have_the_dimension_of_the_others(client, collection):
    collection.add(ids=["a"], embeddings=[[1.0, 2.0, 3.0]])
    include = ["embeddings"]
    for one in (collection, client.get_collection(collection.name, embedding_function=None)):
        assert one.get(ids=["none"], include=include)["embeddings"].shape == (0, 3)
        found = one.query(query_embeddings=[1.0, 2.0, 3.0], where={"k": 1}, include=include)
        assert found["embeddings"][0].shape == (0, 3)
        assert found["ids"] == [[]]


def test_other_dimensions_are_refused(collection):
    fill(collection)
    for call in (collection.add, collection.upsert):
        with pytest.raises(ValueError, match="expecting embedding with dimension of 16, got 2"):
            call(ids=["x"], embeddings=[[1, 2]])
    with pytest.raises(ValueError, match="dimension"):
        collection.query(query_embeddings=[1.0, 2.0])
    assert collection.count() == 50


def test_too_large_batches_are_refused_before_they_are_sent(client, collection):
    limit = client.get_max_batch_size()
    ids = [str(number) for number in range(limit + 1)]
    with pytest.raises(BatchSizeExceededError, match="exceeds maximum batch size"):
        collection.add(ids=ids, embeddings=np.zeros((limit + 1, 1), np.float32))
    with pytest.raises(DuplicateIDError, match="aa, bb"):
        collection.add(ids=["aa", "bb", "aa", "bb"], embeddings=np.zeros((4, 1), np.float32))


class Text(str):
    """A string of another type than str."""


#: Values of metadata of all kinds: good ones, wrong ones, and those of types that are rare.
VALUES = [
    "text", "", 1, -(2**70), 0.5, float("nan"), float("inf"), True, None, Text("x"), np.float32(1), np.int64(2),
    [1], [1, 2], (1, 2), ["a"], [True, False], [0.5, float("nan")], [], (), [1, 2.5], [1, True], [None], [None, 1],
    [[1]], [{}], {}, {"#type": "sparse_vector", "indices": [1], "values": [1.0]}, SparseVector([1], [1.0]), object(),
    np.ones(2), np.ones(1, np.float32)[0], b"x", {1}, [np.float64(1)], [object()], [Text("x")], 1j,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_gets_through_the_first_look_at_metadata_passes_every_check(value):
    column = [None, {"a": 1, "key": value}]
    odd = _engine.odd_values(column)
    if odd:
        ((row, key, given),) = odd
        assert (row, key) == (1, "key") and given is value
        return
    metadata._check_value(1, "key", value)
    if isinstance(value, (list, tuple)):
        metadata._check_list("key", value, 1)


def test_nearly_all_metadata_gets_through_the_first_look():
    usual = {"s": "x", "i": 1, "f": 0.5, "b": True, "n": None, "l": ["a", "b"], "t": (1, 2), "d": [0.5], "z": [False]}
    assert _engine.odd_values([usual, None, {}]) == []


WRONG_KEYS = [{metadata.RESERVED: "x"}, {5: "x"}]


@pytest.mark.parametrize("members", [{"key": value} for value in VALUES] + WRONG_KEYS, ids=repr)
def test_wrong_metadata_is_refused_alike_wherever_it_is_read(collection, members):
    column = [None, {"a": 1, **members}]
    for write in (collection.add, collection.upsert, collection.update):
        try:
            metadata.check_records(column, write.__name__)
        except InvalidArgumentError as error:
            with pytest.raises(type(error)) as refused:
                write(ids=["x", "y"], embeddings=X[:2], metadatas=column)
            assert (str(refused.value), refused.value.row) == (str(error), error.row)
            assert collection.count() == 0


def test_usual_metadata_is_read_once_in_process(monkeypatch):
    looked = []
    monkeypatch.setattr("vermilion.collection.check_records", lambda column, *_: looked.append(column))
    with vermilion.Client() as client:
        records = client.create_collection("usual", embedding_function=None)
        usual = {"s": "x", "i": 1, "f": 0.5, "b": True}
        records.add(ids=["x", "y"], embeddings=X[:2], metadatas=[usual, None])
        assert not looked
        for number, odd in enumerate((["a"], Text("x"), np.float32(1), SparseVector([1], [1.0]), (1, 2))):
            column = [usual, {"s": "x", "odd": odd}]
            records.add(ids=["x", str(number)], embeddings=X[:2], metadatas=column)
            assert looked.pop() is column
            assert not looked


ROWS = {
    "floats": [[0.1, -0.0, 1e-45], [1e38, 3.4028235e38, 5e-324]],
    "beyond 32 bits": [[1e39, -1e300]],
    "no numbers": [[float("nan"), float("inf")]],
    "one": [[0.5]],
    "ints": [[1, 2]],
    "floats and ints": [[0.5, 1]],
    "truths": [[0.5, True]],
    "ragged": [[0.5], [0.5, 1.0]],
    "longer first": [[0.5, 1.0], [0.5]],
    "empty": [[]],
    "empty later": [[0.5], []],
    "none": [],
    "a tuple": [[0.5], (0.5,)],
    "an array": [[0.5], np.ones(1)],
    "numbers of NumPy": [[np.float64(0.5)]],
    "deeper": [[[0.5]]],
    "texts": [["0.5"]],
    "nothing": [[None]],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_lists_of_floats_are_read_as_numpy_reads_them(rows):
    block = _engine.block_of(rows)
    plain = all(type(row) is list and set(map(type, row)) == {float} for row in rows) and len(set(map(len, rows))) == 1
    assert (block is not None) == plain
    if plain:
        with np.errstate(over="ignore"):
            expected = np.asarray(rows).astype(np.float32)
        assert block.dtype == np.float32 and block.flags.c_contiguous and block.flags.writeable
        assert (block.shape, block.tobytes()) == (expected.shape, expected.tobytes())


def test_lists_of_floats_that_are_no_vectors_tell_their_record(collection):
    for wrong, why in ((float("nan"), "NaN"), (1e39, "beyond 32 bits"), ("x", "type"), (True, "bool")):
        with pytest.raises(InvalidArgumentError, match=why) as caught:
            collection.add(["a", "b", "c"], [[0.5, 1.5], [0.5, 1.5], [0.5, wrong]])
        assert (caught.value.row, caught.value.field) == (2, "embeddings")
    with pytest.raises(InvalidArgumentError, match="dimension 1 beside one of 2") as caught:
        collection.add(["a", "b"], [[0.5, 1.5], [0.5]])
    assert caught.value.row == 1
