"""Records poured in from every kind of source, and out again."""

import json

import numpy as np
import pytest

import vermilion
from vermilion.errors import InvalidArgumentError

X = np.random.default_rng(11).standard_normal((25, 6), dtype=np.float32)


def records():
    return [
        {
            "id": f"r{row}",
            "embedding": X[row].tolist(),
            "document": f"text {row}" if row % 2 else None,
            "metadata": {"n": row} if row % 3 else None,
            "uri": f"u{row}",
        }
        for row in range(25)
    ]


def check(collection):
    found = collection.get(include=["embeddings", "documents", "metadatas", "uris"])
    assert found["ids"] == [f"r{row}" for row in range(25)]
    np.testing.assert_array_equal(found["embeddings"], X)
    assert found["documents"] == [one["document"] for one in records()]
    assert found["metadatas"] == [one["metadata"] for one in records()]
    assert found["uris"] == [one["uri"] for one in records()]


def columns():
    made = {name: [one[name] for one in records()] for name in records()[0]}
    return {**made, "embedding": X}


def jsonl(folder):
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records()) + "\n")
    return path


def table():
    arrow = pytest.importorskip("pyarrow")
    made = columns()
    made["embedding"] = arrow.array(list(X), arrow.list_(arrow.float32()))
    made["metadata"] = [one and json.dumps(one) for one in made["metadata"]]
    return arrow.table(made)


def fixed_table():
    arrow = pytest.importorskip("pyarrow")
    whole = table()
    fixed = arrow.FixedSizeListArray.from_arrays(arrow.array(X.reshape(-1)), 6)
    return whole.set_column(1, "embedding", fixed)


def parquet(folder):
    writer = pytest.importorskip("pyarrow.parquet")
    writer.write_table(table(), folder / "records.parquet", row_group_size=10)
    return folder / "records.parquet"


def pandas_frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({**columns(), "embedding": list(X)})


def polars_frame():
    return pytest.importorskip("polars").from_arrow(table())


SOURCES = {
    "records": lambda folder: iter(records()),
    "columns": lambda folder: columns(),
    "plural columns": lambda folder: {f"{name}s": column for name, column in columns().items()},
    "jsonl": jsonl,
    "parquet": parquet,
    "arrow": lambda folder: table(),
    "arrow batch": lambda folder: table().to_batches()[0],
    "fixed size lists": lambda folder: fixed_table(),
    "pandas": lambda folder: pandas_frame(),
    "polars": lambda folder: polars_frame(),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_the_same_records(collection, tmp_path, kind):
    told = []
    report = collection.ingest(SOURCES[kind](tmp_path), batch_size=7, progress=told.append)
    assert (report.records, report.skipped) == (25, 0)
    assert report.records_per_second > 0 and told[-1] == 25 and told == sorted(told)
    check(collection)


def test_arrays_get_numbers_or_given_ids(collection):
    assert collection.ingest(X, batch_size=10).records == 25
    assert collection.get(include=[])["ids"] == [str(row) for row in range(25)]
    collection.ingest(X[:3], ids=["x", "y", "z"])
    assert collection.get(ids=["y"], include=["embeddings"])["embeddings"].tolist() == [X[1].tolist()]
    with pytest.raises(InvalidArgumentError, match="fewer ids"):
        collection.ingest(X, ids=["x"])
    with pytest.raises(InvalidArgumentError, match="more ids"):
        collection.ingest(X[:1], ids=["x", "y"])


def test_other_columns_are_metadata(collection):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["a", "b"], "year": [2020, 2021], "score": [0.5, None]})
    frame["embedding"] = [[1.0, 2.0], [3.0, 4.0]]
    collection.ingest(frame)
    assert collection.get()["metadatas"] == [{"year": 2020, "score": 0.5}, {"year": 2021}]


def test_values_that_pandas_misses_are_none(collection):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "id": ["a", "b", "c"],
            "document": ["text", None, pandas.NA],
            "year": [2020, None, 2022],
            "name": ["x", None, float("nan")],
            "truth": [True, None, pandas.NaT],
            "score": [np.float32("nan"), 0.5, 1.5],
            "metadata": [{"k": pandas.NA, "l": 1}, pandas.NA, None],
            "embedding": [[1.0], [2.0], [3.0]],
        }
    )
    for given in (frame, frame.convert_dtypes()):
        collection.ingest(given)
        found = collection.get()
        assert found["documents"] == ["text", None, None]
        assert found["metadatas"] == [
            {"l": 1, "year": 2020, "name": "x", "truth": True},
            {"score": 0.5},
            {"year": 2022, "score": 1.5},
        ]
        collection.delete(ids=["a", "b", "c"])
    frame["id"] = ["a", pandas.NA, "c"]
    with pytest.raises(InvalidArgumentError, match="has no id"):
        collection.ingest(frame)


def test_files_may_hold_what_programs_may_not_write(collection):
    # Other programs write 1.0 as 1, and have empty lists, of which nothing is kept.
    collection.ingest([{"id": "a", "embedding": [1.0], "metadata": {"l": [], "m": [1, 2.5]}}])
    assert collection.get()["metadatas"] == [{"m": [1.0, 2.5]}]
    with pytest.raises(TypeError, match="key to be a str, got 1"):
        collection.ingest([{"id": "b", "embedding": [1.0], "metadata": {1: 2}}])


def test_ids_that_come_twice_are_upserts_in_their_order_whatever_the_batches(client, collection):
    given = [
        {"id": "a", "embedding": [1.0], "document": "one", "metadata": {"k": 1, "l": 1}},
        {"id": "b", "embedding": [2.0]},
        {"id": "a", "embedding": [3.0], "metadata": {"k": 2}},
    ]
    for size in (1, 2, 3):
        collection.ingest(given, batch_size=size)
        found = collection.get(include=["embeddings", "documents", "metadatas"])
        assert found["ids"] == ["a", "b"] and found["embeddings"].tolist() == [[3.0], [2.0]]
        assert found["documents"] == ["one", None]
        assert found["metadatas"] == [{"k": 2, "l": 1}, None]
        collection.delete(ids=["a", "b"])


def broken(kind, folder):
    """25 records, of which number 13 has a vector that is none."""
    bad = X.copy()
    bad[13, 2] = np.nan
    if kind == "array":
        return bad
    if kind == "wide array":
        wide = X.astype(np.float64)
        wide[13, 0] = 1e300
        return wide
    made = [{"id": f"r{row}", "embedding": bad[row].tolist()} for row in range(25)]
    if kind == "records":
        return iter(made)
    if kind == "jsonl":
        path = folder / "broken.jsonl"
        path.write_text("\n\n".join(json.dumps(one) for one in made))
        return path
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"id": [one["id"] for one in made], "embedding": list(bad)})
    if kind == "arrow":
        return table
    path = folder / "broken.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=4)
    return path


@pytest.mark.parametrize("kind", ["array", "wide array", "records", "jsonl", "arrow", "parquet"])
def test_the_record_at_fault_is_counted_in_the_source(collection, tmp_path, kind):
    with pytest.raises(InvalidArgumentError, match="NaN.*record 13") as caught:
        collection.ingest(broken(kind, tmp_path), batch_size=5)
    assert caught.value.row == 13
    # Nothing of the batch is there, and nothing that comes after it.
    assert collection.count() == 10
    assert "The first 10 records of the source are written." in caught.value.__notes__


def test_records_at_fault_in_their_other_columns_are_counted_too(collection):
    ids = [str(row) for row in range(9)]
    text = {"id": ids, "embedding": X[:9], "metadata": ['{"a": 1}'] * 7 + ['{"a":', None]}
    with pytest.raises(InvalidArgumentError, match="metadata of a record is no JSON") as caught:
        collection.ingest(text, batch_size=2)
    assert caught.value.row == 7
    held = {"id": ids, "embedding": X[:9], "k": [1] * 5 + [{"b": 1}] + [2] * 3}
    with pytest.raises(InvalidArgumentError, match="under the key 'k'") as caught:
        collection.ingest(held, batch_size=2)
    assert caught.value.row == 5
    lines = [{"id": one, "embedding": [1.0]} for one in ids[:4]] + [{"embedding": [1.0]}]
    with pytest.raises(InvalidArgumentError, match="has no id") as caught:
        collection.ingest(iter([*lines, {"id": "x", "embedding": [1.0]}]), batch_size=3)
    assert caught.value.row == 4


def record_at(row, **members):
    """10 records, of which number ``row`` has these members."""
    made = [{"id": str(one), "embedding": [float(one), 1.0], "document": "d"} for one in range(10)]
    made[row] = {**made[row], **members}
    return made


AT_FAULT = {
    "dimension": {"embedding": [1.0]},
    "array of another dimension": {"embedding": np.ones(3, np.float32)},
    "empty vector": {"embedding": []},
    "nested vector": {"embedding": [[1.0, 2.0]]},
    "text as vector": {"embedding": ["a", "b"]},
    "truth value in a vector": {"embedding": [True, 2]},
    "empty id": {"id": ""},
    "id a truth value": {"id": True},
    "id a list": {"id": ["x"]},
    "document a list": {"document": ["x"]},
    "document bytes": {"document": b"\xff"},
    "document a truth value": {"document": True},
    "document a number": {"document": 5},
    "uri a dictionary": {"uri": {"k": 1}},
    "key of metadata": {"metadata": {1: 2}},
    "metadata a list": {"metadata": [1, 2]},
    "metadata no object": {"metadata": "[]"},
    "metadata with NaN": {"metadata": '{"a": NaN}'},
    "two members": {"ids": "x"},
}


@pytest.mark.parametrize("size", [10, 4])
@pytest.mark.parametrize("case", AT_FAULT)
def test_records_that_are_wrong_are_refused_with_their_number(collection, case, size):
    given = record_at(7, **AT_FAULT[case])
    with pytest.raises(InvalidArgumentError) as caught:
        collection.ingest(given, batch_size=size)
    assert caught.value.row == 7 and caught.value.field
    assert collection.count() == (0 if size == 10 else 4)


def test_columns_that_are_wrong_are_refused_with_the_number_of_the_record(collection):
    columns = {name: [one[name] for one in record_at(0)] for name in record_at(0)[0]}
    for name, value in (("embedding", [1.0]), ("id", ""), ("id", False), ("document", 4)):
        wrong = {**columns, name: [*columns[name]]}
        wrong[name][7] = value
        with pytest.raises(InvalidArgumentError) as caught:
            collection.ingest(wrong, batch_size=4)
        assert caught.value.row == 7 and caught.value.field
    with pytest.raises(InvalidArgumentError, match="two columns for id: id and ids; leave one out"):
        collection.ingest({**columns, "ids": columns["id"]})
    block = np.ones((10, 3), np.float32)
    with pytest.raises(InvalidArgumentError, match="dimension of 2, got 3") as caught:
        collection.ingest({**columns, "embedding": block})
    assert caught.value.row == 0 and collection.count() == 4


def test_numbers_become_ids_and_nothing_else_does(collection):
    collection.ingest([{"id": one, "embedding": [1.0]} for one in (5, np.int64(6), 7.5, "x")])
    assert collection.get(include=[])["ids"] == ["5", "6", "7.5", "x"]
    with pytest.raises(InvalidArgumentError, match="The id of a record is a text or a number, got None|has no id"):
        collection.ingest(np.ones((2, 1), np.float32), ids=["a", None])


@pytest.mark.parametrize("kind", ["arrow", "parquet", "pandas", "polars"])
def test_tables_whose_columns_are_wrong_are_refused(collection, tmp_path, kind):
    arrow = pytest.importorskip("pyarrow")

    def given(columns):
        made = arrow.table({"id": ["a", "b"], "embedding": [[1.0], [2.0]], **columns})
        if kind == "parquet":
            pytest.importorskip("pyarrow.parquet").write_table(made, tmp_path / "t.parquet")
            return tmp_path / "t.parquet"
        if kind == "polars":
            return pytest.importorskip("polars").from_arrow(made)
        return made if kind == "arrow" else pytest.importorskip("pandas") and made.to_pandas()

    with pytest.raises(InvalidArgumentError, match="two columns for id"):
        collection.ingest(given({"ids": ["c", "d"]}))
    with pytest.raises(InvalidArgumentError, match="document of a record is a text or None, got") as caught:
        collection.ingest(given({"document": [1, 2]}))
    assert caught.value.row == 0
    with pytest.raises(InvalidArgumentError, match="dimension 3 beside one of 1") as caught:
        collection.ingest(given({"embedding": [[1.0], [1.0, 2.0, 3.0]]}))
    assert caught.value.row == 1
    assert collection.count() == 0


def test_a_number_of_ids_that_is_wrong_is_told_before_anything_is_written(collection):
    ids = [str(row) for row in range(20)]
    with pytest.raises(InvalidArgumentError, match="fewer ids than records: 20 ids, 25 records"):
        collection.ingest(X, batch_size=5, ids=ids)
    with pytest.raises(InvalidArgumentError, match="more ids than records"):
        collection.ingest(X[:3], batch_size=2, ids=ids)
    assert collection.count() == 0


def test_ids_of_a_parquet_file_go_on_over_its_batches(collection, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    path = tmp_path / "named.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table({"embedding": list(X)}), path)
    collection.ingest(path, batch_size=10, ids=[f"r{row}" for row in range(25)])
    assert collection.get(include=[])["ids"] == [f"r{row}" for row in range(25)]


def test_what_has_no_vectors_is_embedded(client):
    def lengths(input):
        return [[float(len(text)), 1.0] for text in input]

    collection = client.get_or_create_collection("embedded-by-ingest", embedding_function=lengths)
    collection.ingest([{"id": "a", "document": "xyz"}, {"id": "b", "embedding": None, "document": "x"}])
    assert collection.get(include=["embeddings"])["embeddings"].tolist() == [[3, 1], [1, 1]]
    client.delete_collection("embedded-by-ingest")


def test_a_call_that_was_cut_off_goes_on(collection, tmp_path):
    note = tmp_path / "note"

    def cut():
        yield from records()[:17]
        raise OSError("the source broke")

    with pytest.raises(OSError, match="broke"):
        collection.ingest(cut(), batch_size=5, resume=note)
    before = json.loads(note.read_text())["records"]
    assert before == collection.count() == 15
    report = collection.ingest(iter(records()), batch_size=5, resume=note)
    assert (report.skipped, report.records) == (before, 25 - before)
    assert not note.exists()
    check(collection)


def test_notes_of_others_are_refused(client, collection, tmp_path):
    note = tmp_path / "note"
    note.write_text(json.dumps({"collection": "another", "records": 5}))
    with pytest.raises(InvalidArgumentError, match="another collection"):
        collection.ingest(X, resume=note)
    note.write_text("no note")
    with pytest.raises(InvalidArgumentError, match="no note"):
        collection.ingest(X, resume=note)
    assert collection.count() == 0


WRONG = [
    (lambda path: 7, "cannot be ingested"),
    (lambda path: "records.txt", "no file of records"),
    (lambda path: [1, 2], "A record is a dictionary"),
    (lambda path: [{"embedding": [1.0]}], "need an id"),
    (lambda path: [{"id": "a"}], "an embedding or a document"),
    (lambda path: [{"id": "a", "embedding": [1.0]}, {"id": "b"}], "has no embedding"),
    (lambda path: {"id": ["a"], "embedding": [[1.0], [2.0]]}, "different lengths"),
    (lambda path: X[0], "has the shape"),
]


@pytest.mark.parametrize(("source", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_sources_are_told(collection, tmp_path, source, message):
    with pytest.raises(InvalidArgumentError, match=message):
        collection.ingest(source(tmp_path))
    assert collection.count() == 0


def test_lines_that_are_no_json_are_named(collection, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"id": "a", "embedding": [1]}\n{"id": \n')
    with pytest.raises(InvalidArgumentError, match="Line 2 of"):
        collection.ingest(path)
    with pytest.raises(InvalidArgumentError, match="batch_size is 0"):
        collection.ingest(X, batch_size=0)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_exported_files_come_back_as_the_same_records(client, collection, tmp_path, suffix):
    collection.ingest(iter(records()))
    sparse = vermilion.SparseVector([2, 9], [0.5, 0.25])
    collection.update(ids="r1", metadatas={"s": sparse, "l": ["a"]})
    path = tmp_path / f"out{suffix}"
    assert collection.export(path, batch_size=4).records == 25
    again = client.create_collection(f"again-{collection.name}", embedding_function=None)
    again.ingest(path)
    kinds = ["embeddings", "documents", "metadatas", "uris"]
    one, other = (each.get(include=kinds) for each in (collection, again))
    np.testing.assert_array_equal(one.pop("embeddings"), other.pop("embeddings"))
    assert one == other and other["metadatas"][1]["s"] == sparse
    few = tmp_path / f"few{suffix}"
    assert collection.export(few, where={"n": {"$lt": 5}}).records == 3
    empty = client.create_collection(f"empty-{collection.name}", embedding_function=None)
    with pytest.raises(FileExistsError, match="few.* is there already"):
        empty.export(few)
    assert empty.export(few, overwrite=True).records == 0
    assert [each.name for each in tmp_path.glob("*.new")] == []
    client.delete_collection(again.name)
    client.delete_collection(empty.name)


def test_tables_come_out(collection):
    pytest.importorskip("pyarrow"), pytest.importorskip("pandas"), pytest.importorskip("polars")
    assert len(collection.to_arrow()) == 0
    collection.ingest(iter(records()))
    arrow, polars, pandas = collection.to_arrow(7), collection.to_polars(), collection.to_pandas()
    assert arrow.column_names == ["id", "embedding", "document", "metadata", "uri"]
    np.testing.assert_array_equal(np.array(arrow["embedding"].to_pylist(), np.float32), X)
    assert polars["id"].to_list() == pandas["id"].tolist() == [f"r{row}" for row in range(25)]
    assert pandas["metadata"][1] == {"n": 1}
    np.testing.assert_array_equal(np.stack(pandas["embedding"]), X)
    assert len(collection.to_arrow(where={"n": {"$lt": 5}})) == 3
