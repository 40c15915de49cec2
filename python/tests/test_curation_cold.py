"""Cold storage of curation: training that newer datasets replace stays as files, whatever happens meanwhile."""

import json
import threading
import time
import uuid

import numpy as np
import pytest
from conftest import Server
from test_curation import CLASSES, cur, embedding_set, of_class, train  # noqa: F401

from vermilion import curation
from vermilion.errors import NotFoundError, TransportError


def rows_of(space, file, folder):
    """The records of a cold file."""
    path = folder / f"{file.id}.{file.format}"
    space.save_cold_file(file.id, path)
    if file.format == "parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_that_newer_datasets_replace_stays_as_files(cur, embedding_set, tmp_path):
    space = train(cur, embedding_set)
    assert space.cold_files() == []
    with cur.training(embedding_set, dataset="newer") as session:
        session.log(of_class(0, 2, 20), ["a", "b"], label_classes=["cat", "dog"])
    space.retain(keep_versions=1, purge_after_days=30)
    assert space.expire().records == 60
    files = space.cold_files()
    assert [(one.dataset, one.records) for one in files] == [("v7", 60)]
    assert files[0].purge_at == pytest.approx(files[0].put_away_at + 30 * 86_400)
    assert space.cold_files("newer") == []
    rows = rows_of(space, files[0], tmp_path)
    assert len(rows) == files[0].records
    assert all(len(row["embedding"]) == 8 and row["label_class"] in CLASSES for row in rows)
    space.delete_cold_file(files[0].id)
    with pytest.raises(NotFoundError) as missing:
        space.save_cold_file(files[0].id, tmp_path / "none")
    assert missing.value.reason == "cold_file_not_found"
    assert not (tmp_path / "none").exists()


def test_what_is_logged_while_training_is_put_away_stays_or_is_in_a_file(cur, server, embedding_set, tmp_path):
    rows = 6000
    ids = [f"r{row}" for row in range(rows)]
    vectors = np.concatenate([of_class(number, rows // 3, number) for number in range(3)])
    labels = dict.fromkeys(ids, "cat")
    with cur.training(embedding_set, dataset="v7") as session:
        session.log(vectors, ids, ids=ids, label_classes=["cat"] * rows)
    with cur.training(embedding_set, dataset="v8") as session:
        session.log(of_class(0, 2, 20), ["a", "b"], label_classes=["cat", "dog"])
    space = cur.space(embedding_set)
    space.retain(keep_versions=1)
    over = threading.Event()

    def log_again():
        drawn = np.random.default_rng(1)
        while not over.is_set():
            some = [int(row) for row in drawn.choice(rows, 5, replace=False)]
            name = f"again{time.monotonic_ns()}"
            with cur.training(embedding_set, dataset="v7") as session:
                session.log(vectors[some], [ids[row] for row in some], ids=[ids[row] for row in some], label_classes=[name] * 5)
            labels.update((ids[row], name) for row in some)

    writer = threading.Thread(target=log_again)
    writer.start()
    try:
        reports = [space.expire() for _ in range(4)]
    finally:
        over.set()
        writer.join()
    assert sum(report.records for report in reports) >= rows
    there = server.client().get_collection(space.about().space, embedding_function=None).get(include=["metadatas"])
    there = {id: one["label_class"] for id, one in zip(there["ids"], there["metadatas"], strict=True)}
    put_away = {}
    for file in space.cold_files("v7"):
        put_away.update((row["id"], row["label_class"]) for row in rows_of(space, file, tmp_path))
    for id, label in labels.items():
        assert there.get(id, put_away.get(id)) == label, id


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.6, 1.2])
def test_no_record_is_lost_where_the_server_is_killed_while_training_is_put_away(tmp_path, after):
    rows, name = 12_000, {"model": uuid.uuid4().hex}
    ids = [f"r{row}" for row in range(rows)]
    server = Server(tmp_path / "data")
    cur = curation.connect(f"http://{server.host}:{server.port}")
    with cur.training(name, dataset="v7") as session:
        session.log(np.concatenate([of_class(0, rows // 2, 0), of_class(1, rows // 2, 1)]), ids, ids=ids, label_classes=["cat"] * rows)
    with cur.training(name, dataset="v8") as session:
        session.log(of_class(0, 2, 20), ["a", "b"], ids=["a", "b"], label_classes=["cat", "dog"])
    space = cur.space(name)
    space.retain(keep_versions=1)

    def expire():
        with pytest.raises(TransportError):
            while True:
                space.expire()

    asking = threading.Thread(target=expire)
    asking.start()
    time.sleep(after)
    server.process.kill()
    server.process.wait()
    asking.join()
    again = Server(tmp_path / "data")
    try:
        space = curation.connect(f"http://{again.host}:{again.port}").space(name)

        def everything():
            collection = again.client().get_collection(space.about().space, embedding_function=None)
            there = set(collection.get(include=[])["ids"])
            files = [row["id"] for file in space.cold_files("v7") for row in rows_of(space, file, tmp_path)]
            return there, set(files)

        there, put_away = everything()
        assert there | put_away == {*ids, "a", "b"}
        assert space.expire().complete
        there, put_away = everything()
        assert put_away == set(ids) and not there & put_away
    finally:
        assert again.stop() == 0

