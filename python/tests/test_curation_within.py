"""Curation of a database in this process: what a server says, without one."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

import vermilion
from vermilion import curation
from vermilion.errors import InvalidArgumentError, NotFoundError

MODEL = {"model": "corners", "version": "1"}


def of_class(number: int, count: int, seed: int, far: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, 0.2, (count, 8)).astype(np.float32)
    vectors[:, number] += far
    return vectors


def fill(cur: curation.Curation) -> curation.Space:
    with cur.training(MODEL, dataset="v1") as session:
        for number, name in enumerate(("cat", "dog", "cow")):
            uris = [f"{name}/{row}" for row in range(30)]
            session.log(of_class(number, 30, number), uris, label_classes=[name] * 30)
    with cur.production(MODEL) as session:
        session.log(of_class(0, 60, 10), [f"seen/{row}" for row in range(60)], inference_classes=["cat"] * 60)
        session.log(of_class(5, 10, 11), [f"odd/{row}" for row in range(10)], inference_classes=["dog"] * 10)
    return cur.space(MODEL)


@pytest.fixture(autouse=True)
def _sessions(tmp_path, monkeypatch):
    monkeypatch.setenv("VERMILION_SESSIONS", str(tmp_path / "sessions"))


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_database_of_this_process_is_curated(kind, tmp_path):
    client = vermilion.EphemeralClient() if kind == "memory" else vermilion.PersistentClient(tmp_path / "db")
    cur = curation.connect(client)
    assert cur.url.startswith("this process")
    space = fill(cur)
    assert space.about().contexts == {"production": 70, "training": 90}
    todo = space.recommend(10, candidates=1.0)
    assert len(todo) == 10 and todo[0].priority == 1.0
    worst = space.recommend(5, objective="verify")
    assert all(one.input_uri.startswith("odd/") for one in worst)
    assessed = cur.production(MODEL).log(of_class(5, 1, 12), ["new"], inference_classes=["cat"], assess=True)
    assert assessed[0].training_recommended
    space.label([one.id for one in todo[:3]], "cow", promote="v2")
    assert space.about().contexts["training"] == 93
    page = space.report(tmp_path / "report.html")
    assert page.startswith("<!doctype html>")
    space.export(tmp_path / "training.jsonl", what="training")
    lines = (tmp_path / "training.jsonl").read_text().splitlines()
    assert len(lines) == 93 and json.loads(lines[0])["label_class"] in ("cat", "dog", "cow")
    # The same records, as any client sees them.
    records = client.get_collection(space.about().space)
    assert records.count() == 161
    with pytest.raises(NotFoundError):
        cur.space("nothing").about()
    with pytest.raises(InvalidArgumentError) as caught:
        space.recommend(5, objective="luck")
    assert caught.value.reason == "unknown_objective"
    client.close()


def test_what_was_curated_is_there_when_the_folder_is_opened_again(tmp_path):
    client = vermilion.PersistentClient(tmp_path / "db")
    space = fill(curation.connect(client))
    before = [(one.id, one.priority) for one in space.recommend(20)]
    begun = space.retrain("all of it")
    client.close()
    client = vermilion.PersistentClient(tmp_path / "db")
    cur = curation.connect(client)
    again = cur.space(MODEL)
    assert [(one.id, one.priority) for one in again.recommend(20)] == before
    with again.claim("here") as lease:
        assert lease.event["retraining"] == begun.id
        lease.complete({"model": "corners", "version": "2"}, metrics={"accuracy": 0.9})
    assert cur.retraining(begun.id).state == "succeeded"
    client.close()
    with pytest.raises(Exception, match="closed"):
        cur.spaces()


def test_threads_curate_at_the_same_time_while_records_are_searched():
    client = vermilion.EphemeralClient()
    cur = curation.connect(client)
    space = fill(cur)
    failures = []

    def work(number: int) -> None:
        try:
            for step in range(5):
                uris = [f"more/{number}/{step}/{row}" for row in range(20)]
                cur.production(MODEL).send(of_class(number % 3, 20, number), uris)
                assert len(space.recommend(5, objective="verify")) == 5
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    records = client.get_collection(space.about().space)
    for _ in range(20):
        assert records.query(query_embeddings=of_class(0, 1, 3), n_results=3)["ids"]
    for thread in threads:
        thread.join()
    assert failures == []
    assert space.about().records == 160 + 400
    client.close()
