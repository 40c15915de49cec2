"""Answers as JSON and as Arrow: the same results, to the last digit, whichever form they came in."""

import itertools
import sys
import uuid

import numpy as np
import pytest

from vermilion import errors, http, local, streams
from vermilion.types import SparseVector

ROWS = 70
COLUMNS = ("embeddings", "documents", "metadatas", "uris")


@pytest.fixture(scope="module")
def collections(server):
    """One collection through clients of three ways: as JSON, and as Arrow through the port and the socket."""
    clients = {way: server.client(transport=way) for way in ("json", "http", "socket")}
    name = f"c-{uuid.uuid4().hex}"
    made = clients["json"].create_collection(name, embedding_function=None)
    block = np.random.default_rng(3).standard_normal((ROWS, 7), dtype=np.float32)
    block[:4] = [[0.1] * 7, [1e30] * 7, [-0.0] * 7, [1e-40] * 7]
    made.add([f"ïd-{row}-€" for row in range(ROWS)], block)
    values = [
        {"whole": 1, "part": 0.1, "text": "ä\n\"'\\\u2028𝄞", "truth": True, "mixed": 1, "zéro": 0},
        {"whole": -(2**63), "part": -0.0, "text": "", "truth": False, "mixed": 1.0},
        {"whole": 2**63 - 1, "part": 1e300, "mixed": "1", "rare": 5e-324},
        {"wholes": [1, -2], "parts": [0.5, 1e-9], "texts": ["ü", ""], "truths": [True, False], "mixed": [1]},
        {"sparse": SparseVector([1, 2**32 - 1], [0.1, 1e30]), "part": 2.0},
        {"sparse": SparseVector([0, 4], [0.3, -1.5], ["wörd", "b"]), "mixed": True},
        {"#odd"[1:]: 1, "a.b": 2, "metadata.x": "y", "id": "not the id", "document": 3},
    ]
    for row in range(0, ROWS, 2):
        made.update([f"ïd-{row}-€"], metadatas=[values[row // 2 % len(values)]])
    made.update(["ïd-0-€", "ïd-3-€", "ïd-4-€"], block[[0, 3, 4]], documents=["Äußerst \U0001f600", "", "x" * 5000])
    made.update(["ïd-3-€"], uris=["file:///ä b"])
    yield {way: client.get_collection(name, embedding_function=None) for way, client in clients.items()}
    clients["json"].delete_collection(name)
    for client in clients.values():
        client.close()


@pytest.fixture
def kinds(monkeypatch):
    """The types of answers, as they come."""
    seen = []
    for kind in (http._Remote, local.LocalConnection):

        def watched(self, *arguments, exchange=kind.exchange):
            answer = exchange(self, *arguments)
            seen.append(answer.kind)
            return answer

        monkeypatch.setattr(kind, "exchange", watched)
    return seen


def alike(a, b):
    """Whether two results are the same in values, types and shapes."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape and a.flags.writeable == b.flags.writeable
        return same and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, SparseVector):
        return alike(a.to_dict(), b.to_dict())
    return repr(a) == repr(b)


def subsets(columns):
    return [list(part) for count in range(len(columns) + 1) for part in itertools.combinations(columns, count)]


def same_of_all(collections, kinds, ask, form=streams.MEDIA_TYPE):
    """What ``ask`` gets, which is the same by all ways; all but that of JSON come in ``form``."""
    del kinds[:]
    answers = [ask(one) for one in collections.values()]
    assert kinds == ["application/json", form, form]
    for other in answers[1:]:
        assert alike(answers[0], other), (answers[0], other)
    return answers[0]


@pytest.mark.parametrize("include", subsets(COLUMNS), ids=",".join)
def test_gets_are_the_same_in_both_forms(collections, kinds, include):
    got = same_of_all(collections, kinds, lambda one: one.get(include=include))
    assert len(got["ids"]) == ROWS and [got[name] is not None for name in COLUMNS] == [
        name in include for name in COLUMNS
    ]
    few = "application/json" if "embeddings" not in include else streams.MEDIA_TYPE
    got = same_of_all(collections, kinds, lambda one: one.get(limit=5, offset=3, include=include), few)
    assert len(got["ids"]) == 5
    ids = ["ïd-9-€", "nobody", "ïd-0-€"]
    same_of_all(collections, kinds, lambda one: one.get(ids=ids, include=include), few)
    got = same_of_all(collections, kinds, lambda one: one.get(where={"whole": 77}, include=include))
    assert got["ids"] == []


def test_a_peek_is_the_same_in_both_forms(collections, kinds):
    got = same_of_all(collections, kinds, lambda one: one.peek())
    assert got["embeddings"].shape == (10, 7) and got["documents"][:2] == ["Äußerst \U0001f600", None]
    assert got["metadatas"][1] is None and type(got["metadatas"][2]["mixed"]) is float


@pytest.mark.parametrize("include", subsets((*COLUMNS, "distances")), ids=",".join)
def test_queries_are_the_same_in_both_forms(collections, kinds, include):
    few = "application/json" if "embeddings" not in include else streams.MEDIA_TYPE
    queries = np.random.default_rng(4).standard_normal((40, 7), dtype=np.float32)

    def ask(count, **more):
        return same_of_all(
            collections, kinds, lambda one: one.query(query_embeddings=queries[:count], include=include, **more), few
        )

    one = ask(1, n_results=3)
    assert [len(ids) for ids in one["ids"]] == [3]
    assert (one["distances"] is not None) == ("distances" in include)
    assert len(ask(40, n_results=2)["ids"]) == 40
    assert [len(ids) for ids in ask(2, n_results=500)["ids"]] == [ROWS, ROWS]
    nothing = ask(3, n_results=2, where={"whole": 77})
    assert nothing["ids"] == [[], [], []]


def test_distances_at_the_end_of_their_range_are_the_same_in_both_forms(collections, kinds):
    columns = ["distances", "embeddings"]
    found = same_of_all(
        collections, kinds, lambda one: one.query(query_embeddings=[[3e30] * 7], n_results=ROWS, include=columns)
    )
    assert found["distances"][0][-1] == 3.4028235e38


def test_errors_are_the_same_in_both_forms(collections):
    def told(ask):
        messages = []
        for one in collections.values():
            with pytest.raises(errors.ChromaError) as caught:
                ask(one)
            messages.append((type(caught.value), str(caught.value), caught.value.row, caught.value.field))
        assert messages[1:] == messages[:1] * 2
        return messages[0]

    everything = ["embeddings", "documents"]
    kind, message, _, field = told(lambda one: one.query(query_embeddings=[[1.0, 2.0]], include=everything))
    assert kind is errors.InvalidArgumentError and "dimension" in message and field == "query_embeddings"
    told(lambda one: one.get(where={"$and": []}, include=everything))


def test_records_of_functions_are_the_same_in_both_forms(server, kinds):
    made = server.client(transport="json").create_collection(f"c-{uuid.uuid4().hex}", embedding_function=None)
    made.add(["a", "b"], [[1.0, 2.0], [3.0, 4.0]], [{"k": 1}, {"k": "x"}])
    output = f"o-{uuid.uuid4().hex}"
    made.attach_function("statistics", "counts", output)
    clients = {way: server.client(transport=way) for way in ("json", "http", "socket")}
    outputs = {way: one.get_collection(output, embedding_function=None) for way, one in clients.items()}
    got = same_of_all(outputs, kinds, lambda one: one.get(include=["embeddings", "metadatas"]))
    assert got["embeddings"].shape == (3, 1)


def test_exports_are_the_same_in_both_forms(collections, tmp_path):
    written = []
    for way, one in collections.items():
        file = tmp_path / f"{way}.jsonl"
        assert one.export(file, batch_size=33).records == ROWS
        written.append(sorted(file.read_text(encoding="utf-8").splitlines()))
    parsed = [[sorted(http.json.loads(line).items(), key=str) for line in lines] for lines in written]
    assert parsed[0] == parsed[1] == parsed[2]


def test_without_pyarrow_records_go_as_json_and_vectors_come_as_arrow(server, kinds, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with server.client() as client:
        assert "there is no pyarrow" in client.transport
        made = client.create_collection(f"c-{uuid.uuid4().hex}", embedding_function=None)
        block = np.random.default_rng(5).standard_normal((200, 4), dtype=np.float32)
        made.add([str(row) for row in range(200)], block, [{"n": row} for row in range(200)])
        del kinds[:]
        got = made.get(include=["embeddings", "metadatas"])
        assert kinds == [streams.MEDIA_TYPE]
        np.testing.assert_array_equal(got["embeddings"], block)
        assert got["metadatas"] == [{"n": row} for row in range(200)]
        client.delete_collection(made.name)


def test_a_server_that_knows_json_alone_is_read_as_json(collections, kinds, monkeypatch):
    monkeypatch.setattr("vermilion.streams.MEDIA_TYPE", "application/of-another-kind")
    same_of_all(collections, kinds, lambda one: one.peek(), "application/json")
    queries = np.ones((2, 7), np.float32)
    everything = [*COLUMNS, "distances"]
    same_of_all(
        collections, kinds, lambda one: one.query(query_embeddings=queries, include=everything), "application/json"
    )


@pytest.mark.parametrize("damage", [lambda body: body[:-9], lambda body: b"", lambda body: b"\xff" * len(body)])
def test_an_answer_that_is_no_stream_is_told_as_such(collections, monkeypatch, damage):
    exchange = http._Remote.exchange

    def damaged(self, *arguments):
        answer = exchange(self, *arguments)
        return answer._replace(body=damage(answer.body))

    monkeypatch.setattr(http._Remote, "exchange", damaged)
    with pytest.raises(errors.TransportError, match="did not answer: The answer is no Arrow stream"):
        collections["http"].peek()
    with pytest.raises(errors.TransportError, match="did not answer: The answer is no Arrow stream"):
        collections["http"].query(query_embeddings=[[1.0] * 7], include=["embeddings"])
