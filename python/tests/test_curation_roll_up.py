"""The roll-up of curation: the records of a space as files, in step with it whatever happens meanwhile."""

import json
import threading
import time
import uuid

import numpy as np
import pytest
from conftest import Server
from test_curation import cur, embedding_set, of_class, train  # noqa: F401

from vermilion import curation
from vermilion.errors import NotFoundError


def rows_of(space, file, folder):
    """The records of a file of the roll-up."""
    path = folder / f"{file.id}.{file.format}"
    space.save_rolled_up(file.id, path)
    if file.format == "parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]


def in_step(cur, space):
    """The files of the roll-up once they tell all that is acknowledged."""
    ends = time.monotonic() + 60
    while True:
        files = space.rolled_up()
        if files.operations_behind == 0:
            return files
        assert time.monotonic() < ends, files.about
        cur.run("roll_up")
        time.sleep(0.05)


def told(space, files, folder):
    """The newest row of each record, as a reader of all files finds it; each file is checked against what it says."""
    newest = {}
    for file in files:
        rows = rows_of(space, file, folder)
        assert len(rows) == file.records
        datasets = [row["dataset"] for row in rows]
        assert {name: datasets.count(name) for name in set(datasets)} == file.datasets
        seqs = [row["seq"] for row in rows]
        assert seqs == sorted(set(seqs)) and file.behind_seq < seqs[0] and seqs[-1] <= file.to_seq
        for row in rows:
            if row["id"] not in newest or newest[row["id"]]["seq"] < row["seq"]:
                newest[row["id"]] = row
    return newest


def check(client, space, files, folder):
    """Holds the files against the collection; answers how many rows tell what is no more."""
    there = client.get_collection(space.about().space, embedding_function=None).get(include=["metadatas", "embeddings", "uris"])
    rows = told(space, files, folder)
    for at, id in enumerate(there["ids"]):
        row, metadata = rows[id], there["metadatas"][at]
        assert row["input_uri"] == there["uris"][at]
        np.testing.assert_array_equal(np.float32(row["embedding"]), there["embeddings"][at])
        for key in ("label_class", "dataset", "context", "decision"):
            assert row[key] == metadata.get(key), (id, key)
    return sum(file.records for file in files) - len(there["ids"])


def test_records_are_in_files_that_follow_labels_decisions_and_deletions(cur, server, embedding_set, tmp_path):
    space = train(cur, embedding_set)
    assert space.rolled_up() == [] and not space.rolled_up().is_rolled_up
    begun = space.roll_up()
    assert begun.is_rolled_up
    files = in_step(cur, space)
    assert check(server.client(), space, files, tmp_path) == 0
    assert files.about.records == 60 and files.about.bytes == sum(file.bytes for file in files)
    first = [file.id for file in files]

    # What changes is in a later file; a row or two that are no more stay for a while.
    ids = list(server.client().get_collection(space.about().space, embedding_function=None).get(include=[])["ids"])
    space.label(ids[:3], ["dog"] * 3)
    with cur.production(embedding_set, dataset="live") as session:
        session.log(of_class(0, 20, 7), [f"p{at}" for at in range(20)], ids=[f"p{at}" for at in range(20)])
    files = in_step(cur, space)
    assert [file.id for file in files][:1] == first[:1] and len(files) == 2
    assert check(server.client(), space, files, tmp_path) == 3

    # Of what leaves with its dataset nothing stays in any file, nor of much that was deleted.
    space.delete_dataset("live")
    files = in_step(cur, space)
    rows = [row for file in files for row in rows_of(space, file, tmp_path)]
    assert {row["dataset"] for row in rows} == {"v7"}
    collection = server.client().get_collection(space.about().space, embedding_function=None)
    collection.delete(ids=ids[:30])
    files = in_step(cur, space)
    assert check(server.client(), space, files, tmp_path) == 0

    # Whatever its last operation was, it is in step, and one more run makes nothing.
    before = [file.id for file in files]
    assert [file.id for file in in_step(cur, space)] == before
    space.end_roll_up()
    assert space.rolled_up() == [] and space.rolled_up().operations_behind is None
    with pytest.raises(NotFoundError) as missing:
        space.save_rolled_up(before[0], tmp_path / "none")
    assert missing.value.reason == "roll_up_file_not_found"


def test_files_are_in_step_beside_writers_and_kills(tmp_path):
    name, rows = {"model": uuid.uuid4().hex}, 4000
    ids = [f"r{row}" for row in range(rows)]
    drawn = np.random.default_rng(5)
    vectors = drawn.normal(size=(rows, 8)).astype(np.float32)

    def connect(server):
        cur = curation.connect(f"http://{server.host}:{server.port}")
        return cur, cur.space(name)

    server = Server(tmp_path / "data")
    cur = curation.connect(f"http://{server.host}:{server.port}")
    with cur.training(name, dataset="v1") as session:
        session.log(vectors, ids, ids=ids, label_classes=["cat", "dog"] * (rows // 2))
    cur, space = connect(server)
    space.roll_up()
    for after in (0.0, 0.02, 0.1, 0.2, 0.4):
        over = threading.Event()

        def write(space=space, over=over):
            while not over.is_set():
                some = [ids[row] for row in drawn.choice(rows, 200, replace=False)]
                try:
                    space.label(some, [f"at{time.monotonic_ns()}"] * len(some))
                    cur.run("roll_up")
                except Exception:
                    return

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.3 + after)
        server.process.kill()
        server.process.wait()
        over.set()
        writer.join()
        server = Server(tmp_path / "data")
        cur, space = connect(server)
        # Even before the next run no file says what is not so of records that it tells last.
        files = in_step(cur, space)
        assert check(server.client(), space, files, tmp_path) <= rows // 4
    assert server.stop() == 0
