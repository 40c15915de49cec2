"""Records as Arrow streams, with the library that most programs use, beside the same records as JSON."""

import json
import urllib.error
import urllib.request
import uuid

import numpy as np
import pyarrow as pa
import pytest

ARROW = "application/vnd.apache.arrow.stream"
VECTORS = np.random.default_rng(11).normal(size=(40, 8)).astype(np.float32)


def send(server, path, body, kind="application/json", accept=None):
    """Sends a request; answers status, type and body."""
    url = f"http://{server.host}:{server.port}/api/v2/tenants/default_tenant/databases/default_database/{path}"
    body = body if isinstance(body, (bytes, pa.Buffer)) else json.dumps(body).encode()
    headers = {"Content-Type": kind} | ({"Accept": accept} if accept else {})
    request = urllib.request.Request(url, data=memoryview(body), headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def stream(*tables, **options):
    """The stream of tables that have the same columns."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, tables[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue()


def vectors(values):
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


def table(begin=0, end=40):
    """Some records, as the other tests have them."""
    numbers = range(begin, end)
    return pa.table(
        {
            "id": [f"r{n}" for n in numbers],
            "embedding": vectors(VECTORS[begin:end]),
            "document": [f"text {n}" if n % 3 else None for n in numbers],
            "uri": [f"file:///{n}" for n in numbers],
            "metadata.n": list(numbers),
            "metadata.half": [n / 2 for n in numbers],
            "metadata.even": [n % 2 == 0 for n in numbers],
            "metadata.group": pa.array(["abc"[n % 3] for n in numbers]).dictionary_encode(),
            "metadata.tags": [["x", "y"][: n % 2 + 1] for n in numbers],
            "metadata": [json.dumps({"sparse": {"indices": [n], "values": [0.5]}}) for n in numbers],
        }
    )


class Records:
    """The records of one collection, over HTTP."""

    def __init__(self, server, collection):
        self.server, self.path = server, f"collections/{collection.id}"

    def write(self, operation, *tables, **options):
        return send(self.server, f"{self.path}/{operation}", stream(*tables, **options), ARROW)

    def add(self, *tables):
        status, _, answer = self.write("add", *tables)
        assert status == 201, answer
        return json.loads(answer)

    def read(self, operation, body):
        """The same answer as a table and as JSON."""
        path = f"{self.path}/{operation}"
        status, kind, told = send(self.server, path, body, accept=f"{ARROW};q=1, application/json;q=0.5")
        assert (status, kind) == (200, ARROW), told
        status, kind, answer = send(self.server, path, body)
        assert (status, kind) == (200, "application/json")
        return pa.ipc.open_stream(told).read_all(), json.loads(answer)

    def refused(self, body, message, operation="add", status=400, kind=ARROW):
        before = send(self.server, f"{self.path}/get", {})
        told, answer_kind, answer = send(self.server, f"{self.path}/{operation}", body, kind)
        assert (told, answer_kind) == (status, "application/json"), answer
        assert message in json.loads(answer)["message"]
        assert send(self.server, f"{self.path}/get", {}) == before


@pytest.fixture
def records(server, collection):
    return Records(server, collection)


def cells(rows, row):
    """The metadata of a row of a table."""
    told = json.loads(rows["metadata"][row].as_py() or "{}")
    for name in rows.column_names:
        value = rows[name][row].as_py()
        if name.startswith("metadata.") and value is not None:
            told[name.removeprefix("metadata.")] = value
    return told or None


def test_what_is_added_as_arrow_is_read_by_the_client(records, collection):
    answer = records.add(table(0, 15), table(15, 40))
    assert answer["last_seq_id"] - answer["first_seq_id"] == 39
    got = collection.get(include=["embeddings", "documents", "metadatas", "uris"])
    assert got["ids"] == [f"r{n}" for n in range(40)]
    assert np.array_equal(np.asarray(got["embeddings"], dtype=np.float32), VECTORS)
    assert got["documents"][:3] == [None, "text 1", "text 2"]
    assert got["uris"][39] == "file:///39"
    seven = dict(got["metadatas"][7])
    assert seven.pop("sparse").indices == [7]
    assert seven == {"n": 7, "half": 3.5, "even": False, "group": "b", "tags": ["x", "y"]}
    assert collection.query(query_embeddings=[VECTORS[5]], n_results=1)["ids"] == [["r5"]]


@pytest.mark.parametrize("numbers", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list])
def test_vectors_may_be_lists_of_any_floats(records, collection, numbers, lists):
    values = VECTORS[:5].astype(np.float16)
    rows = [[numbers(number) for number in row] for row in values]
    column = pa.array(rows, type=lists(pa.from_numpy_dtype(numbers)))
    records.add(pa.table({"id": pa.array(list("abcde"), type=pa.string_view()), "embedding": column}))
    got = collection.get(include=["embeddings"])["embeddings"]
    assert np.array_equal(np.asarray(got, dtype=np.float32), values.astype(np.float32))


def test_updates_and_upserts_change_what_they_name(records, collection):
    records.add(table(0, 3))
    update = pa.table(
        {
            "id": ["r0", "r1", "missing"],
            "metadata.n": pa.array([100, None, 1]),
            "metadata": ['{"half": null}', None, None],
            "document": pa.nulls(3),
        }
    )
    assert records.write("update", update)[0] == 200
    got = collection.get(ids=["r0", "r1"])
    assert [row["n"] for row in got["metadatas"]] == [100, 1]
    assert "half" not in got["metadatas"][0] and got["metadatas"][1]["half"] == 0.5
    assert got["documents"] == [None, "text 1"]
    assert records.write("upsert", table(2, 5))[0] == 200
    assert collection.count() == 5


def test_a_get_says_in_columns_what_it_says_in_json(records):
    records.add(table())
    rows, told = records.read("get", {"include": ["embeddings", "documents", "metadatas", "uris"], "limit": 30})
    assert rows["id"].to_pylist() == told["ids"]
    assert rows.schema.field("embedding").type == pa.list_(pa.field("item", pa.float32(), nullable=False), 8)
    assert np.array_equal(np.array(told["embeddings"], dtype=np.float32), np.array(rows["embedding"].to_pylist()))
    assert rows["document"].to_pylist() == told["documents"]
    assert rows["uri"].to_pylist() == told["uris"]
    assert rows.schema.field("metadata.n").type == pa.int64()
    assert rows.schema.field("metadata.even").type == pa.bool_()
    assert [cells(rows, row) for row in range(30)] == told["metadatas"]
    rows, _ = records.read("get", {"include": [], "aggregates": [{"max": "n"}]})
    assert rows.column_names == ["id"]
    assert json.loads(rows.schema.metadata[b"aggregates"]) == [{"max": "n", "value": 39}]


def test_what_was_read_as_a_table_can_be_written_as_one(client, server, records):
    records.add(table())
    everything = {"include": ["embeddings", "documents", "metadatas", "uris"]}
    rows, told = records.read("get", everything)
    other = client.create_collection(f"copy-{uuid.uuid4().hex}", embedding_function=None)
    copy = Records(server, other)
    copy.add(rows)
    assert copy.read("get", everything)[1] == told
    client.delete_collection(other.name)


def test_a_query_has_a_row_for_each_record_of_each_vector(records):
    records.add(table())
    asked = {
        "query_embeddings": VECTORS[[3, 9]].tolist(),
        "n_results": 4,
        "where": {"n": {"$lt": 30}},
        "include": ["distances", "documents", "metadatas"],
    }
    rows, told = records.read("query", asked)
    assert rows["query_index"].to_pylist() == [0] * 4 + [1] * 4
    assert rows["rank"].to_pylist() == [0, 1, 2, 3] * 2
    assert rows["id"].to_pylist() == sum(told["ids"], [])
    assert rows["distance"].to_numpy().tolist() == np.float32(sum(told["distances"], [])).tolist()
    assert rows["document"].to_pylist() == sum(told["documents"], [])
    assert [cells(rows, row) for row in range(8)] == sum(told["metadatas"], [])
    rows, _ = records.read("query", asked | {"where": {"n": 1000}})
    assert rows.num_rows == 0


def test_searches_have_their_scores_and_columns(records):
    records.add(table())
    knn = {"$knn": {"query": VECTORS[3].tolist(), "limit": 5}}
    asked = [
        {"rank": knn, "limit": {"limit": 3}, "select": {"keys": ["#score", "n"]}},
        {"filter": {"n": {"$gte": 38}}, "select": {"keys": ["#document"]}},
    ]
    rows, told = records.read("search", {"searches": asked})
    assert rows["query_index"].to_pylist() == [0, 0, 0, 1, 1]
    assert rows["id"].to_pylist() == sum(told["ids"], [])
    assert rows["score"].to_pylist() == [np.float32(s) for s in told["scores"][0]] + [None, None]
    assert rows["metadata.n"].to_pylist() == [row["n"] for row in told["metadatas"][0]] + [None, None]
    assert rows["document"].to_pylist() == [None] * 3 + told["documents"][1]


def test_answers_are_json_unless_arrow_is_liked_more(records):
    for accept, status, kind in [
        ("*/*", 200, "application/json"),
        (f"{ARROW}, application/json", 200, "application/json"),
        (f"{ARROW};q=0.2, application/json;q=0.1", 200, ARROW),
        (f"{ARROW}, */*;q=0.5", 200, ARROW),
        ("text/html", 406, "application/json"),
    ]:
        told, told_kind, _ = send(records.server, f"{records.path}/get", {}, accept=accept)
        assert (told, told_kind) == (status, kind), accept


def test_what_cannot_be_is_refused_with_its_row_and_column_and_changes_nothing(records):
    records.add(table(0, 3))
    good = table(3, 6)
    body = stream(good).to_pybytes()
    put = lambda name, values: stream(good.set_column(good.column_names.index(name), name, values))
    records.refused(body[: len(body) // 2], "it is cut")
    records.refused(body[:-8], "it has no end; close the writer")
    records.refused(b"", "it is empty")
    records.refused(b"{\"ids\": []}", "marker")
    records.refused(put("id", pa.array(["x", None, "y"])), "`id`, row 1")
    records.refused(put("metadata.n", pa.array([1, 2, 3], pa.timestamp("s"))), "`metadata.n` holds Timestamp")
    records.refused(put("metadata.half", pa.array([1.0, float("nan"), 2.0])), "'half' in record 1")
    records.refused(put("metadata", pa.array(["{", None, None])), "`metadata`, row 0")
    broken = VECTORS[3:6].copy()
    broken[2, 1] = np.inf
    records.refused(put("embedding", vectors(broken)), "`embedding`, row 2")
    records.refused(put("embedding", vectors(VECTORS[3:6, :5])), "dimension of 8, got 5")
    records.refused(stream(good.drop_columns(["embedding"])), "no column `embedding`")
    records.refused(stream(good.rename_columns(["id"] * 10)), "more than once")
    records.refused(stream(good, compression="lz4"), "another codec than zstd")
    records.refused(body, "Content-Type: application/vnd.apache.arrow.stream", status=415, kind="text/csv")
    records.refused(body, "Content-Type: application/json", operation="delete", status=415)
    assert records.write("add", good, compression="zstd")[0] == 201


def test_a_compressed_stream_unfolds_to_no_more_than_a_body_may_have(records):
    zeros = np.zeros((1, 60_000), dtype=np.float32).repeat(400, axis=0)
    big = pa.table({"id": [str(n) for n in range(400)], "embedding": vectors(zeros)})
    body = stream(big, compression="zstd")
    assert body.size < 1_000_000
    records.refused(body, "unfolds to more than", status=413)
