"""Files of records: the package and the command read the same from them."""

import base64
import json
import os
import subprocess

import numpy as np
import pytest

import vermilion
from conftest import ROOT
from vermilion.errors import InvalidArgumentError

KINDS = ["embeddings", "documents", "metadatas", "uris"]


def run_import(file, folder, *flags):
    binary = ROOT / os.environ.get("COMPAT_BINARY", "target/debug/vermilion")
    command = [binary, "import", file, "--collection", "notes", "--path", folder, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def imported(file, folder, *flags):
    """The records of a file that the command has read."""
    done = run_import(file, folder, *flags)
    assert done.returncode == 0, done.stderr
    with vermilion.PersistentClient(folder) as client:
        return shown(client.get_collection("notes"))


def shown(collection):
    found = collection.get(include=KINDS)
    return {**found, "embeddings": found["embeddings"].tolist()}


def ingested(file, folder, batch_size=10_000):
    """The same by the package."""
    with vermilion.PersistentClient(folder) as client:
        collection = client.create_collection("notes", embedding_function=None)
        collection.ingest(file, batch_size=batch_size)
        return shown(collection)


def line(id, **members):
    return json.dumps({"id": id, "embedding": [1.0, 2.0], **members}) + "\n"


def packed(kind):
    return base64.b64encode(np.array([1.0, -2.0], kind).tobytes()).decode()


TEXTS = {
    "mark.jsonl": "\ufeff" + line("a") + "\n" + line("b"),
    "base64.jsonl": line("a", embedding=packed("<f4"))
    + json.dumps({"id": "b", "embedding_f16": packed("<f2")}),
    "other.jsonl": line("a", colour="red", n=2, none=None, l=[1, 2], metadata={"n": 1, "m": 3}) + line("b"),
    "plural.json": json.dumps({"ids": "a", "embeddings": [1, 2], "documents": "d", "metadatas": {"k": 1}}),
    "nought.jsonl": line("a", metadata={"k": 5}).replace("5", "-0") + line("b", k=1).replace("1}", "1, \"k\": 2}"),
    "packed.jsonl": json.dumps({"ids": "a", "embeddings": packed("<f4")}),
    "nought.csv": 'id,embedding,k,l\na,"[-0,1]",-0,-0.0\n',
    "twice.NDJSON": line("a", document="one", metadata={"k": 1, "l": 1})
    + line("b")
    + line("a", embedding=[3.0, 4.0], metadata={"k": 2}),
    "table.csv": "\ufeffid,document,kind,year,share,zip,open,big,uri,embedding,metadata\r\n"
    'a,"two\nlines, ""quoted""",book,1999,0.50,01067,true,1e999,u,"[1, 2.5]","{""n"":1,""year"":5}"\r\n'
    '\r\nb,,,,,NaN,,,,"[3,4]",\r\nc, x ,,"-1",,,"fals",,,"[5,6]","{}"',
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_package_and_the_command_read_the_same_records(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(TEXTS[name].encode())
    expected = imported(file, tmp_path / "imported")
    assert len(expected["ids"]) >= 1
    assert ingested(file, tmp_path / "ingested") == expected
    assert ingested(file, tmp_path / "one-by-one", 1) == expected
    assert imported(file, tmp_path / "batches", "--batch", "1") == expected


def test_files_compressed_by_zstd_are_read_by_both(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    file = tmp_path / "notes.jsonl.zst"
    with arrow.output_stream(str(file), compression="zstd") as out:
        out.write((line("a", document="x") + line("b")).encode())
    assert ingested(file, tmp_path / "ingested") == imported(file, tmp_path / "imported")


def table():
    arrow = pytest.importorskip("pyarrow")
    columns = {
        "id": ["a", "b", "a"],
        "embeddings": arrow.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], arrow.list_(arrow.float32(), 2)),
        "document": ["x", None, "z"],
        "metadata": ['{"n": 1, "m": 2}', None, ""],
        "n": arrow.array([7, None, 9], arrow.uint8()),
        "share": arrow.array([0.1, float("nan"), 2], arrow.float32()),
        "open": [True, None, False],
        "kind": arrow.array(["k", "l", None]).dictionary_encode(),
        "list": arrow.array([["p"], None, ["q", "r"]], arrow.large_list(arrow.large_string())),
        "none": arrow.nulls(3),
    }
    return arrow.table(columns)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4"])
def test_parquet_gives_the_same_records_however_it_is_compressed(tmp_path, compression):
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "notes.parquet"
    parquet.write_table(table(), file, compression=compression)
    expected = imported(file, tmp_path / "imported")
    assert expected["ids"] == ["a", "b"] and expected["embeddings"] == [[5.0, 6.0], [3.0, 4.0]]
    assert expected["metadatas"][1] == {"kind": "l"}
    assert ingested(file, tmp_path / "ingested") == expected


def test_a_compression_that_is_not_known_is_named(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "notes.parquet"
    parquet.write_table(table(), file, compression="brotli")
    done = run_import(file, tmp_path / "data")
    assert done.returncode == 1
    assert "compressed by Brotli; Snappy, gzip, zstd, LZ4 and no compression are read" in done.stderr


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (line("a") + "{", "line 2: EOF while parsing an object at column 1"),
        (line("a") + line("b", embedding=[1.0]), "has 1 numbers in its embedding"),
        (line("a") + line("b", colour={"a": 1}), "metadata `colour` of record `b`"),
    ],
)
def test_a_file_whose_first_batch_is_refused_leaves_no_collection(tmp_path, text, problem):
    file = tmp_path / "notes.jsonl"
    file.write_text(text)
    done = run_import(file, tmp_path / "data")
    assert done.returncode == 1 and problem in done.stderr and " at line " not in done.stderr
    with vermilion.PersistentClient(tmp_path / "data") as client:
        assert client.count_collections() == 0


WRONG = [
    ("a.jsonl", line("a") + "\n" + '{"id": ]', 1, "Line 3 of .* is no JSON: .* at character 8"),
    ("a.jsonl", line("a") + "[1]", 1, "Line 2 of .* is no JSON object"),
    ("a.jsonl", line("a") + line("b", embedding="AAA"), 1, "Line 2 of .* no base64"),
    ("a.jsonl", line("a") + line("b", embedding_f16="ADwAwA=="), 1, "has one of them"),
    ("a.csv", "id,embedding\na,[1]\nb,2\n", 1, "Line 3 of .* no list of numbers"),
    ("a.csv", 'id,embedding\na,[1]\n"b\n",[2],3\n', 1, "Line 3 of .* has 3 cells, and there are 2 columns"),
    ("a.csv", "id,k,k\n", None, "Line 1 of .* names a column 'k'"),
    ("a.csv", 'id,embedding\na,[1]\nb"x",[2]\n', 1, "a quote in a cell that does not begin with one"),
    ("a.csv", 'id,embedding\n"a"b,[1]\n', 0, "no comma behind the closing quote"),
    ("a.csv", 'id,embedding\n"a,[1]\n', None, "Line 2 of .* a quote that is not closed"),
    ("a.csv", 'id,embedding,metadata\na,[1],[1]\n', 0, "metadata that is no JSON object"),
    ("a.csv", "", None, "no row that names its columns"),
    ("a.csv", "id,ids,embedding\n", None, "names a column 'id'"),
    ("a.csv", 'id,embedding,metadata\na,[1],"{""a"":NaN}"\n', 0, "metadata that is no JSON object"),
]
#: Lines that no record is made of, here or by the command.
WRONG_LINES = {
    "document a list": (line("b", document=["x"]), "type list as document; a text is allowed"),
    "document a number": (line("b", document=5), "type int as document; a text is allowed"),
    "uri an object": (line("b", uri={"k": 1}), "type dict as uri; a text is allowed"),
    "id a truth value": (line(True), "type bool as id; a text or a number is allowed"),
    "metadata a text": (line("b", metadata="{}"), "type str as metadata; an object is allowed"),
    "NaN": (line("b", metadata={"k": float("nan")}), "NaN is no number of JSON"),
    "infinite": (line("b", embedding=[1.0, float("-inf")]), "-Infinity is no number of JSON"),
    "id twice": ('{"id": "a", "id": "b", "embedding": [1, 2]}', "two members for id"),
    "id and ids": ('{"id": "a", "embedding": [1, 2], "ids": "b"}', "two members for id"),
    "vectors twice": ('{"id": "a", "embedding": [1, 2], "embeddings": [1, 2]}', "two members for embedding"),
}


@pytest.mark.parametrize("case", WRONG_LINES)
def test_lines_that_the_command_refuses_are_refused(tmp_path, case):
    text, problem = WRONG_LINES[case]
    file = tmp_path / "notes.jsonl"
    file.write_text(line("a") + "\n" + text)
    assert run_import(file, tmp_path / "data").returncode == 1
    with vermilion.EphemeralClient() as client:
        collection = client.create_collection("wrong-line", embedding_function=None)
        with pytest.raises(InvalidArgumentError, match=f"Line 3 of .*{problem}") as caught:
            collection.ingest(file)
        assert caught.value.row == 1 and collection.count() == 0
        client.delete_collection("wrong-line")


@pytest.mark.parametrize(("name", "text", "row", "problem"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_in_a_file_is_told_with_line_and_record(tmp_path, name, text, row, problem):
    file = tmp_path / name
    file.write_text(text)
    with vermilion.EphemeralClient() as client:
        collection = client.create_collection("wrong", embedding_function=None)
        with pytest.raises(InvalidArgumentError, match=problem) as caught:
            collection.ingest(file)
        assert caught.value.row == row and collection.count() == 0
        client.delete_collection("wrong")


def test_a_parquet_file_that_was_cut_off_is_an_argument_that_is_wrong(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    whole, file = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    parquet.write_table(table(), whole)
    file.write_bytes(whole.read_bytes()[:-20])
    with vermilion.EphemeralClient() as client:
        collection = client.create_collection("cut", embedding_function=None)
        with pytest.raises(InvalidArgumentError, match="cut.parquet cannot be read"):
            collection.ingest(file)
        with pytest.raises(FileNotFoundError):
            collection.ingest(tmp_path / "nothing.parquet")
        client.delete_collection("cut")


def test_columns_that_metadata_cannot_hold_are_refused_by_both(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "notes.parquet"
    dates = arrow.array([None, 5], arrow.date32())
    parquet.write_table(arrow.table({"id": ["a", "b"], "embedding": [[1.0], [2.0]], "day": dates}), file)
    done = run_import(file, tmp_path / "data")
    assert done.returncode == 1 and "its column `day` holds Date32; texts, numbers," in done.stderr
    with vermilion.EphemeralClient() as client:
        collection = client.create_collection("dates", embedding_function=None)
        with pytest.raises(InvalidArgumentError, match="of the type date, under the key 'day'") as caught:
            collection.ingest(file)
        assert caught.value.row == 1
        client.delete_collection("dates")
