"""Curation from Python against a real server: sessions, lists, labels, refusals, and programs that are killed."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pytest
from conftest import ROOT, Server

import vermilion
from vermilion import curation
from vermilion.curation import values
from vermilion.errors import ConflictError, InvalidArgumentError, NotFoundError, TransportError

CLASSES = ["cat", "dog", "owl"]


def of_class(number, rows, seed, spread=0.3):
    """Vectors around the corner of a class."""
    noise = np.random.default_rng(seed).standard_normal((rows, 8)) * spread
    noise[:, number] += 2.0
    return noise.astype(np.float32)


@pytest.fixture
def cur(server, tmp_path, monkeypatch):
    monkeypatch.setenv("VERMILION_SESSIONS", str(tmp_path / "sessions"))
    return curation.connect(f"http://{server.host}:{server.port}")


@pytest.fixture
def embedding_set():
    return {"model": uuid.uuid4().hex, "version": 7, "layer": "fc2"}


def train(cur, embedding_set, rows=20):
    """Three classes of training data."""
    with cur.training(embedding_set, dataset="v7") as session:
        for number, name in enumerate(CLASSES):
            uris = [f"train/{name}/{row}" for row in range(rows)]
            session.log(of_class(number, rows, number), uris, label_classes=[name] * rows)
    return cur.space(embedding_set)


def produce(cur, embedding_set, rows=60):
    """Production that lies between the first two classes in part."""
    vectors = np.concatenate([of_class(0, rows // 2, 10), of_class(0, rows // 2, 11) + of_class(1, rows // 2, 12)])
    with cur.production(embedding_set) as session:
        session.log(vectors, [f"made/{row}" for row in range(rows)], inference_classes=["cat"] * rows)
    return vectors


def test_a_session_sends_at_its_end(cur, embedding_set, tmp_path):
    with cur.training(embedding_set, dataset="v7", dataset_metadata={"by": "test"}) as session:
        told = session.log(of_class(0, 2, 0), ["a", "b"], label_classes=np.array([4, 5]), metadatas=[{"n": 1}, None])
        assert list(told) == []
        assert session.unsent == 2
        assert os.path.exists(session.file)
        with pytest.raises(NotFoundError):
            cur.space(embedding_set).about()
        session.log(of_class(0, 1, 1)[0], "c", label_classes=6.0, probabilities=[0.5, 0.5], groups="g", targets="t")
    about = cur.space(embedding_set).about()
    assert (about.records, about.classes, about.contexts) == (3, ["4", "5", "6"], {"training": 3})
    assert about.datasets[0]["metadata"] == {"by": "test"}
    assert session.unsent == 0 and session.file is None
    assert list((tmp_path / "sessions").iterdir()) == []


def test_what_was_logged_is_in_an_ordinary_collection(cur, server, embedding_set):
    vectors = of_class(0, 2, 3)
    session = cur.production(embedding_set, class_names=["cat", "dog"])
    session.log(
        vectors,
        ["a", "b"],
        ids=["one", "two"],
        probabilities=np.array([[0.25, 0.75], [0.9, 0.1]], np.float32),
        observed_at=[np.datetime64("2026-01-31T12:00:00"), "2026-01-31T12:00:01Z"],
        quality_scores=[1, None],
        thumbnails=[b"GIF89a...", None],
    )
    saved = session.save()
    assert saved.records == 2 and not saved.torn
    found = server.client().get_collection(saved.space, embedding_function=None).get(include=["embeddings", "metadatas", "uris"])
    assert found["ids"] == ["one", "two"]
    np.testing.assert_array_equal(found["embeddings"], vectors)
    assert found["uris"] == ["a", "b"]
    assert [one["inference_class"] for one in found["metadatas"]] == ["dog", "cat"]
    assert [one["observed_at"] for one in found["metadatas"]] == [1769860800.0, 1769860801.0]
    assert found["metadatas"][0]["quality_score"] == 1.0
    assert "quality_score" not in found["metadatas"][1]
    space = cur.space(embedding_set)
    assert space.thumbnail("one") == b"GIF89a..."
    with pytest.raises(NotFoundError, match="no thumbnail"):
        space.thumbnail("two")


def test_assessments_come_with_the_log(cur, embedding_set):
    session = cur.production(embedding_set)
    told = session.log(of_class(0, 1, 5), ["early"], assess=True)
    assert not told.ready and list(told) == [] and len(told.ids) == 1
    train(cur, embedding_set)
    session.log(of_class(0, 30, 6), [f"calm/{row}" for row in range(30)])
    told = session.log(np.stack([of_class(0, 1, 7)[0], -4 * of_class(1, 1, 8)[0]]), ["near", "far"], assess=True)
    assert told.ready and session.unsent == 0
    near, far = told
    assert far.trouble > near.trouble
    assert far.training_recommended and not far.not_useful
    assert far.reasons and set(far.parts) | set(far.missing) == {"uncertainty", "class_distance", "novelty", "disagreement"}
    assert near.inferred_class == "cat" and near.inferred_by == "server"
    should = cur.space(embedding_set).assess(-4 * of_class(1, 1, 8)[0], inference_classes="dog")
    assert should[0].training_recommended and "id" not in should[0]
    assert should.epoch > 0


def test_a_list_is_read_labelled_and_decided(cur, embedding_set):
    space = train(cur, embedding_set)
    produce(cur, embedding_set)
    todo = space.recommend(10, candidates=1.0)
    assert [one.rank for one in todo] == list(range(1, 11))
    assert todo[0].priority == 1.0
    assert [one.priority for one in todo] == sorted((one.priority for one in todo), reverse=True)
    assert 0 < todo.coverage <= 1 and todo.total >= 10
    explained = space.explain(todo[0].id)
    assert explained.assessment.trouble == pytest.approx(todo[0].trouble)
    parts = explained.assessment.parts.values()
    assert sum(part["share"] * part["percentile"] for part in parts) == pytest.approx(todo[0].trouble)
    counted = space.signals()
    assert sum(one["share"] for one in counted.signals) == pytest.approx(1)
    assert counted.right + counted.wrong == 60 and explained.weights["signals"] == counted.signals
    first, second, third = (one.id for one in todo[:3])
    assert space.decide(first, "junk").records == 1
    assert space.decide([second, third], ["duplicate", "snoozed"], snooze_seconds=60).records == 2
    assert not {first, second, third} & {one.id for one in space.recommend(50, candidates=1.0)}
    space.decide([second, third], None)
    left = {one.id for one in space.recommend(60, candidates=1.0)}
    assert {second, third} <= left and first not in left
    space.label([second, third], ["dog", "owl"], promote="v8")
    assert space.about().contexts == {"training": 62, "production": 58}
    space.label([third], None)
    assert space.recommend(5, objective="verify", datasets=["production"], explain=False)[0].get("parts") is None
    pandas = pytest.importorskip("pandas")
    frame = todo.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["id"]) == [one.id for one in todo]


def test_more_than_a_page_is_one_list(cur, embedding_set):
    space = train(cur, embedding_set)
    rows = 1300
    with cur.production(embedding_set) as session:
        session.log(of_class(1, rows, 20, 1.0), [f"p/{row}" for row in range(rows)])
    space.wait()
    todo = space.recommend(1200, objective="verify", candidates=1.0, explain=False)
    assert len(todo) == 1200
    assert len({one.id for one in todo}) == 1200
    assert [one.rank for one in todo] == list(range(1, 1201))


def test_a_session_of_a_killed_program_is_sent_later(cur, server, embedding_set, tmp_path):
    program = """
import os, signal, sys, numpy as np
from vermilion import curation
cur = curation.connect(sys.argv[1])
session = cur.production({"model": sys.argv[2], "version": 7, "layer": "fc2"})
for part in range(3):
    session.log(np.eye(8, dtype=np.float32), [f"{part}/{row}" for row in range(8)])
print(session.file, flush=True)
if sys.argv[3] == "hold":
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""
    url = f"http://{server.host}:{server.port}"
    command = [sys.executable, "-c", program, url, embedding_set["model"], "hold"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    file = child.stdout.readline().strip()
    # It is alive, so that the file is its own.
    assert cur.pending() == []
    with pytest.raises(ConflictError, match="alive"):
        cur.upload(file)
    child.stdin.close()
    assert child.wait() == -signal.SIGKILL
    assert cur.pending() == [file]
    with open(file, "ab") as torn:
        torn.write(b'{"embedding": "AAAA')
    saved = cur.upload(file)
    assert (saved.records, saved.torn) == (24, True)
    space = cur.space(embedding_set)
    before = space.about()
    assert before.records == 24
    # Once more changes nothing, not even the log.
    assert cur.upload(file, remove=True).records == 24
    assert space.about().seq == before.seq
    assert cur.pending() == []


def test_the_command_sends_what_a_session_left_behind_under_the_same_keys(cur, server, embedding_set, tmp_path):
    with pytest.warns(UserWarning, match="not sent"), pytest.raises(KeyboardInterrupt):
        with cur.production(embedding_set, folder=tmp_path / "mine") as session:
            session.log(of_class(0, 5, 0), [f"p/{row}" for row in range(5)])
            raise KeyboardInterrupt
    (file,) = cur.pending(tmp_path / "mine")
    assert cur.upload(file).records == 5
    space = cur.space(embedding_set)
    before = space.about()
    binary = ROOT / os.environ.get("COMPAT_BINARY", "target/debug/vermilion")
    url = f"http://{server.host}:{server.port}"
    told = subprocess.run([binary, "curation", "upload", file, "--json", "--url", url], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)[0]["records"] == 5
    assert space.about().seq == before.seq


def labels_of(server, space):
    found = server.client().get_collection(space, embedding_function=None).get(include=["metadatas", "uris"])
    return {uri: one["label_class"] for uri, one in zip(found["uris"], found["metadatas"], strict=True)}


def test_what_is_logged_again_is_changed_and_not_repeated(cur, server, embedding_set):
    session = cur.training(embedding_set)
    vectors = of_class(0, 4, 0)
    session.log(vectors[:2], ["a", "b"], label_classes=["cat", "cat"])
    session.log(vectors[2:], ["a", "c"], label_classes=["dog", "cat"])
    saved = session.save()
    assert saved.records == 4 and session.unsent == 0
    assert labels_of(server, saved.space) == {"a": "dog", "b": "cat", "c": "cat"}
    # Within a call too; and the first word counts again, though it was sent before.
    session.log(vectors[[0, 0, 0]], ["d", "d", "d"], label_classes=["cat", "dog", "cat"], observed_at=[1.0] * 3)
    session.log(vectors[:2], ["d", "d"], targets=["left", "right"], label_classes=["owl", "owl"])
    assert session.save().records == 5
    space = cur.space(embedding_set)
    assert space.about().records == 6
    found = server.client().get_collection(saved.space, embedding_function=None).get(where={"observed_at": 1.0})
    assert [one["label_class"] for one in found["metadatas"]] == ["cat"]
    # An id that the server gave is that of the record that has none.
    (given,) = found["ids"]
    session.log(vectors[:1], ["d"], label_classes=["owl"])
    session.log(vectors[:1], ["d"], ids=[given], label_classes=["dog"])
    assert session.save().records == 2
    assert space.about().records == 6


def test_the_command_cuts_repeated_records_as_sessions_do(cur, server, tmp_path):
    file = tmp_path / "mine.jsonl"
    said = [("a", None, "x"), ("a", "training", "y"), ("a", "test", "y"), ("\u00e9\"\n\x7f", None, "x"), ("a", None, "x"), ("a", None, "y")]
    rows = [
        {"embedding": [1.0, 2.0], "input_uri": uri, "context": context, "label_class": label, "observed_at": 5.0}
        for uri, context, label in [*said, *said]
    ]
    head = {"space": f"lines-{uuid.uuid4().hex}", "context": "training"}
    for text in (str, lambda line: line.replace(": ", ":")):
        file.write_text("".join(text(json.dumps(one)) + "\n" for one in [head, *rows]))
        assert cur.upload(file).records == 12
        space = cur.space(head["space"])
        before = space.about()
        assert before.contexts == {"training": 2, "test": 1}
        assert labels_of(server, head["space"])["a"] == "y"
        binary = ROOT / os.environ.get("COMPAT_BINARY", "target/debug/vermilion")
        command = [binary, "curation", "upload", file, "--json", "--url", f"http://{server.host}:{server.port}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(told.stdout)[0]["records"] == 12
        # Every part was known: they were cut alike, and have the same keys.
        assert space.about().seq == before.seq


def test_a_server_that_is_gone_leaves_the_file(tmp_path, embedding_set, monkeypatch):
    monkeypatch.setenv("VERMILION_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setattr("vermilion.curation.connection._WAITS", (0.01, 0.02))
    server = Server(tmp_path / "data")
    cur = curation.connect(server.client())
    session = cur.training(embedding_set)
    session.log(np.eye(8), [f"t/{row}" for row in range(8)], label_classes=list("abcdabcd"))
    server.process.kill()
    server.process.wait()
    with pytest.raises(TransportError):
        session.save()
    assert session.unsent == 8 and os.path.exists(session.file)
    again = Server(tmp_path / "data", port=server.port)
    assert session.save().records == 8
    assert cur.space(embedding_set).about().records == 8
    assert again.stop() == 0


def test_a_with_that_fails_keeps_its_records(cur, embedding_set):
    with pytest.warns(UserWarning, match="2 records were not sent"), pytest.raises(ZeroDivisionError):
        with cur.training(embedding_set) as session:
            session.log(np.eye(2), ["a", "b"], label_classes=["x", "y"])
            1 / 0
    (file,) = cur.pending()
    assert cur.upload(file, remove=True).records == 2
    assert cur.space(embedding_set).about().records == 2


def test_long_sessions_go_in_parts_and_a_part_that_is_refused_says_which_record(cur, embedding_set, monkeypatch):
    monkeypatch.setattr("vermilion.curation.buffer.PART_RECORDS", 7)
    session = cur.training(embedding_set)
    session.log(of_class(0, 20, 0), [f"t/{row}" for row in range(20)], label_classes=["x"] * 20)
    # How the space compares vectors is known to the server alone.
    session.log(np.zeros(8), ["t/20"], label_classes=["x"])
    with pytest.raises(InvalidArgumentError) as caught:
        session.save()
    error = caught.value
    assert (error.reason, error.row, error.field, error.status) == ("zero_vector", 20, "embeddings", 400)
    assert "14 records" in error.__notes__[0]
    assert session.unsent == 21
    session.discard()
    assert session.unsent == 0 and cur.pending() == []
    assert cur.space(embedding_set).about().records == 14


def test_threads_share_a_session(cur, embedding_set):
    session = cur.production(embedding_set)

    def work(number):
        for part in range(20):
            session.log(of_class(0, 3, part), [f"{number}/{part}/{row}" for row in range(3)])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert session.save().records == 240
    assert cur.space(embedding_set).about().records == 240


@pytest.mark.parametrize(
    ("columns", "field", "row"),
    [
        ({"embeddings": [[1.0, np.nan], [1, 2]]}, "embeddings", 0),
        ({"label_classes": ["a"]}, "label_classes", None),
        ({"label_classes": ["a", object()]}, "label_classes", 1),
        ({"label_classes": ["a", 1.5]}, "label_classes", 1),
        ({"probabilities": [[0.5, 0.5], ["x", 0.5]]}, "probabilities", 1),
        ({"probabilities": [[0.5, 0.5], 3.0]}, "probabilities", 1),
        ({"metadatas": [None, "x"]}, "metadatas", 1),
        ({"quality_scores": [1.0, float("inf")]}, "quality_scores", 1),
        ({"thumbnails": [None, "picture.png"]}, "thumbnails", 1),
        ({"thumbnails": [bytes(32 * 1024 + 1), None]}, "thumbnails", 0),
        ({"input_uris": ["a", None]}, "input_uris", 1),
        ({"input_uris": [None, None]}, "input_uris", 0),
        ({"input_uris": None}, "input_uris", None),
        ({"input_uris": ["a", "\udcff.png"]}, "input_uris", 1),
        ({"label_classes": ["a", ""]}, "label_classes", 1),
        ({"probabilities": [[0.5, 0.5], [0.5, 0.52]]}, "probabilities", 1),
        ({"probabilities": np.array([[0.5, 0.5], [0.5, 0.4]], np.float32)}, "probabilities", 1),
        ({"probabilities": np.array([[0.5, 0.5], [1.2, -0.2]])}, "probabilities", 1),
        ({"probabilities": [[0.5, 0.5], [1.2, -0.2]]}, "probabilities", 1),
        ({"probabilities": [None, [0.5, 0.4]]}, "probabilities", 1),
        ({"probabilities": [{"a": 0.5}, {"a": 0.7, "b": 0.4}]}, "probabilities", 1),
        ({"probabilities": [{"a": 0.5}, {"a": 0.7, "b": -0.4}]}, "probabilities", 1),
        ({"probabilities": [{"a": 0.5}, {"a": 0.0}]}, "probabilities", 1),
        ({"probabilities": [{"a": 0.5}, {}]}, "probabilities", 1),
        ({"probabilities": [{"a": 0.5}, {"a": None}]}, "probabilities", 1),
        ({"probabilities": np.array([[0.5, 0.5], [0.5, np.nan]])}, "probabilities", 1),
        ({"logits": np.array([[0.5, 0.5], [0.5, np.inf]])}, "logits", 1),
        ({"probabilities": [None, {"a": 1.0}], "logits": [{"a": 1.0}, {"a": 1.0}]}, "logits", 1),
        ({"metadatas": [{"a": 1}, {"b": [1]}]}, "metadatas.b", 1),
        ({"metadatas": [{"a": 1}, {"b": {"c": 1}}]}, "metadatas.b", 1),
        ({"metadatas": [{"a": 1}, {"b": float("inf")}]}, "metadatas.b", 1),
        ({"metadatas": [{"a": 1}, {"b": 10**400}]}, "metadatas.b", 1),
        ({"metadatas": [{"a": 1}, {"b": b"bytes"}]}, "metadatas.b", 1),
        ({"metadatas": [{"a": 1}, {"context": "mine"}]}, "metadatas.context", 1),
        ({"metadatas": [{"a": 1}, {("a", "b"): 1}]}, "metadatas", 1),
        ({"observed_at": ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00"]}, "observed_at", 1),
        ({"observed_at": ["2026-01-31T12:00:00Z", "yesterday"]}, "observed_at", 1),
    ],
)
def test_what_is_wrong_is_refused_before_it_is_kept(cur, embedding_set, columns, field, row):
    session = cur.training(embedding_set)
    told = {"embeddings": np.eye(2), "input_uris": ["a", "b"], **columns}
    with pytest.raises(InvalidArgumentError) as caught:
        session.log(**told)
    assert (caught.value.field, caught.value.row) == (field, row)
    assert session.unsent == 0 and session.file is None


def test_what_a_session_says_of_all_records_is_judged_with_them(cur, embedding_set):
    with pytest.raises(InvalidArgumentError) as caught:
        cur.training(embedding_set, class_names=["a", "b", "a"])
    assert caught.value.field == "class_names"
    with pytest.raises(InvalidArgumentError) as caught:
        cur.training(embedding_set, metric="hamming")
    assert (caught.value.field, caught.value.reason) == ("metric", "unknown_metric")
    session = cur.training(embedding_set, class_names=["a", "b"], metric="cosine")
    session.log(np.eye(2), ["a", "b"], probabilities=[[0.5, 0.5], {"c": 0.25}])
    with pytest.raises(InvalidArgumentError) as caught:
        session.log(np.eye(2), ["c", "d"], probabilities=np.full((2, 3), 1 / 3))
    assert (caught.value.field, caught.value.row, caught.value.reason) == ("probabilities", 0, "length_mismatch")
    with pytest.raises(InvalidArgumentError) as caught:
        session.log([[1, 0], [1e-50, 0]], ["c", "d"])
    assert (caught.value.field, caught.value.row, caught.value.reason) == ("embeddings", 1, "zero_vector")
    assert session.unsent == 2
    assert session.save().records == 2


def test_what_the_server_takes_is_not_refused_before(cur, embedding_set):
    session = cur.training(embedding_set, metric="l2")
    session.log(
        np.zeros((4, 2)),
        list("abcd"),
        probabilities=[[0.5, 0.509], {"a": 1.009}, [1.009, -0.009], {"a": 0.01}],
        metadatas=[{"i": np.int64(1), "f": np.float32(0.5), "n": np.float32("nan"), "b": np.True_}, {7: "x"}, {"t": ""}, {"big": 2**70}],
        observed_at=[np.datetime64("NaT"), None, 1, "2026-01-31t12:00:00.5+01:00"],
        label_classes=[None, 1, "x", 2.0],
    )
    session.log(np.ones((3, 2)), list("efg"), logits=[[1e300, -1e300], np.array([1, 2]), {"a": -5}])
    assert session.save().records == 7


def test_moments_and_keys_of_metadata_are_judged_as_by_the_server(cur):
    space = f"judged-{uuid.uuid4().hex}"

    def reason(**columns):
        body = {"space": space, "context": "test", "embeddings": [[1, 2]], "input_uris": ["a"], **columns}
        try:
            cur._connection.ask("POST", "/log", body, again=True)
        except InvalidArgumentError as error:
            return error.reason
        return None

    days = "2026-02-29 2024-02-29 2026-13-01 2026-00-10 2026-04-31 0000-02-29 20260131 2026-0131 +002026-01-31 -000001-01-01 -000000-01-01 +010000-01-01 +2026-01-31 9999-12-30 9999-12-31 -009999-01-01 -009999-01-02 \u0662026-01-01"
    clocks = "12 12:00 1200 12:00:00 120000 120000.5 12:0000 24:00:00 23:59:60 12:60:00 12:00:61 12:00:00.123456789 12:00:00.1234567890 12:00:00,5 12:00.5 1 12:00:00. 01:59:58 01:59:59 22:00:00.9 22:00:01"
    offsets = "Z z +01 +0100 +01:00 -01:00:30 +010030 +01:0030 +25:59 +26:00 +1 -00:00 +01:60 Z[UTC] +01:00[Europe/Berlin] +01[!+01:00] Z[u-ca=gregory] Z[!u-ca=gregory] Z[UTC][u-ca=gregory] [UTC] Z[] ZZ"
    moments = [f"{day}T12:00:00Z" for day in days.split()]
    moments += [f"{day}T{clock}Z" for day in ("2026-01-31", "9999-12-30", "-009999-01-02") for clock in clocks.split()]
    moments += [f"2026-01-31{between}12:00:00{offset}" for between in "Tt _" for offset in offsets.split()]
    moments += ["", " 2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z\n", "2026-01-31", "now", "9999-12-30T23:00:00+01:00", "9999-12-30T23:00:00-01:00"]
    for moment in moments:
        told = reason(observed_at=[moment])
        assert told in (None, "bad_time")
        assert values.is_moment(moment) == (told is None), moment
    for key in values.RESERVED:
        assert reason(metadatas=[{key: "x"}]) == "reserved_metadata_key", key
    rules = (ROOT / "crates/curation/src/fields.rs").read_text()
    names = set(re.findall(r'pub const \w+: &str = "(\w+)";', rules))
    assert names <= values.RESERVED, "a field of the server that the package does not know"


def test_a_session_keeps_its_dimension_and_needs_a_name(cur, embedding_set):
    session = cur.training(embedding_set)
    session.log(np.eye(2), ["a", "b"])
    with pytest.raises(InvalidArgumentError, match="3 dimensions"):
        session.log(np.eye(3), ["a", "b", "c"])
    session.discard()
    with pytest.raises(InvalidArgumentError, match="embedding_set"):
        cur.training()
    with pytest.raises(InvalidArgumentError, match="named once"):
        cur.training("one", space="two")


def test_refusals_of_the_server_are_exceptions_with_all_they_say(cur, embedding_set):
    space = cur.space(embedding_set)
    with pytest.raises(NotFoundError) as caught:
        space.recommend()
    assert caught.value.reason == "space_not_found"
    produce(cur, embedding_set)
    with pytest.raises(InvalidArgumentError) as caught:
        space.recommend()
    assert (caught.value.reason, caught.value.status) == ("no_reference", 422)
    assert caught.value.hint and caught.value.hint in str(caught.value)
    assert space.recommend(5, allow_degraded=True).degraded
    with pytest.raises(InvalidArgumentError) as caught:
        space.recommend(objective="best", allow_degraded=True)
    assert caught.value.field == "objective"
    with pytest.raises(NotFoundError) as caught:
        space.decide(["nobody"], "junk")
    assert caught.value.row == 0


def test_official_clients_lend_their_address_and_database(server, embedding_set, tmp_path, monkeypatch):
    monkeypatch.setenv("VERMILION_SESSIONS", str(tmp_path))
    chromadb = pytest.importorskip("chromadb")
    admin = server.client()
    database = f"d-{uuid.uuid4().hex}"
    vermilion.AdminClient(vermilion.Settings(chroma_server_host=server.host, chroma_server_http_port=server.port)).create_database(database)
    theirs = chromadb.HttpClient(server.host, server.port, database=database, settings=chromadb.Settings(anonymized_telemetry=False))
    cur = curation.connect(theirs)
    with cur.training(embedding_set) as session:
        session.log(np.eye(2), ["a", "b"], label_classes=["x", "y"])
    (space,) = cur.spaces()
    assert theirs.get_collection(space.space).count() == 2
    assert [one.embedding_set for one in cur.embedding_sets()] == [embedding_set]
    assert space.space not in [one.space for one in curation.connect(admin).spaces()]
    cur.space(space.space).delete()
    assert list(cur.spaces()) == []


def test_keys_are_carried_over(tmp_path, embedding_set, monkeypatch):
    monkeypatch.setenv("VERMILION_SESSIONS", str(tmp_path / "sessions"))
    binary = ROOT / os.environ.get("COMPAT_BINARY", "target/debug/vermilion")
    keys = tmp_path / "keys.json"
    made = subprocess.run([binary, "key", "create", "app", "--role", "write", "--file", keys], capture_output=True, text=True, check=True)
    secret = made.stdout.split()[-1]
    server = Server(tmp_path / "data", "--access-file", str(keys))
    with pytest.raises(vermilion.errors.ChromaAuthError):
        curation.connect(f"http://{server.host}:{server.port}")
    for cur in (
        curation.connect(f"http://{server.host}:{server.port}", key=secret),
        curation.connect(server.client(headers={"X-Chroma-Token": secret})),
    ):
        with cur.training(embedding_set) as session:
            session.log(np.eye(2), ["a", "b"], label_classes=["x", "y"])
        assert cur.space(embedding_set).about().records == 2
    chromadb = pytest.importorskip("chromadb")
    theirs = chromadb.HttpClient(
        server.host, server.port, headers={"X-Chroma-Token": secret}, settings=chromadb.Settings(anonymized_telemetry=False)
    )
    assert len(curation.connect(theirs).spaces()) == 1
    assert server.stop() == 0


def test_what_leads_to_no_database_of_vermilion_is_refused():
    with pytest.raises(InvalidArgumentError, match="leads to no server"):
        curation.connect(7)


def test_the_old_names_still_do_what_they_did(cur):
    name = f"old-{uuid.uuid4().hex}"
    for number, label in enumerate(CLASSES):
        told = cur.add_training(
            of_class(number, 10, number).tolist(), [f"{label}/{row}" for row in range(10)], dataset="v1", label_class=[label] * 10, model_space=name
        )
        assert told.space == name
    cur.log_production(of_class(0, 30, 9).tolist(), [f"p/{row}" for row in range(30)], inference_class=["cat"] * 30, model_space=name)
    cur.add_triage(of_class(1, 1, 9).tolist(), ["t/1"], inference_class=["cat"], label_class=["dog"], model_space=name)
    cur.add_unlabeled(of_class(2, 1, 9).tolist(), ["p/30"], model_space=name)
    assert cur.process(name).stale_records == 0
    assert cur.space(name).about().contexts == {"training": 30, "production": 31, "triage": 1}
    pytest.importorskip("pandas")
    assert len(cur.get_results(5, name)) == 5


def test_an_embedding_set_leads_to_its_space_whatever_its_values_are(cur):
    for embedding_set in ({"b": [1, {"z": None, "a": True}], "a": "\u00e9 \"x\"\n", "m": uuid.uuid4().hex}, {"rate": 2.5e-7, "m": uuid.uuid4().hex}):
        with cur.training(embedding_set) as session:
            session.log(np.eye(2), ["a", "b"], label_classes=["x", "y"])
        assert cur.space(embedding_set).about().embedding_set == embedding_set
    with pytest.raises(NotFoundError, match="no space"):
        cur.space({"rate": 0.125, "m": uuid.uuid4().hex})


def test_files_of_lines_are_sent_with_what_is_said_beside_them(cur, tmp_path):
    name = f"lines-{uuid.uuid4().hex}"
    file = tmp_path / "mine.jsonl"
    rows = [{"embedding": [1.0, float(row)], "input_uri": f"u/{row}", "label_class": "a"} for row in range(3)]
    file.write_text("\n".join(map(json.dumps, rows)))
    saved = cur.upload(file, space=name, context="training")
    assert (saved.records, saved.space, saved.torn) == (3, name, False)
    file.write_text(json.dumps(rows[0]) + "\n[1]\n")
    with pytest.raises(InvalidArgumentError, match="Line 2"):
        cur.upload(file, space=name, context="training")
    file.write_text("nothing\n")
    with pytest.raises(InvalidArgumentError, match="Line 1"):
        cur.upload(file, space=name, context="training")


def test_wrong_labels_and_other_issues_are_told(cur, embedding_set, monkeypatch):
    space = train(cur, embedding_set, 30)
    ids = cur._connection.ask("POST", "/log", {"embedding_set": embedding_set, "context": "training", "embeddings": of_class(0, 2, 50).tolist(), "input_uris": ["w1", "w2"], "label_classes": ["owl", "owl"]})["ids"]
    produce(cur, embedding_set)
    issues = space.label_issues(wait=60)
    assert {one.id for one in issues[:2]} == set(ids)
    assert all(one.suggested_class == "cat" and one.given_class == "owl" for one in issues[:2])
    assert issues.ready and issues.totals["label"] == issues.total == len(issues)
    assert len(space.label_issues(1)) == 1
    assert len(space.label_issues(all=True)) == 92
    everything = space.issues()
    assert {one.type for one in everything} == {kind for kind, count in everything.totals.items() if count}
    assert all(one.explanation for one in everything)
    with pytest.raises(InvalidArgumentError) as caught:
        space.issues("nothing")
    assert caught.value.field == "type"
    space.label([one.id for one in space.recommend(2)], ["cat", "dog"])
    confusion = space.confusion(context="production")
    assert (confusion.records, confusion.accuracy) == (2, 0.5)
    assert space.confusion(where={"label_class": "dog"}).accuracy == 0.0
    whole = space.confusion()
    monkeypatch.setattr("vermilion.curation.space._CELLS", 1)
    assert len(whole.cells) == whole.total > 1
    assert space.confusion().cells == whole.cells
    pytest.importorskip("pandas")
    assert list(issues.to_pandas()["id"]) == [one.id for one in issues]


def test_a_report_is_one_file(cur, embedding_set, tmp_path):
    space = train(cur, embedding_set)
    produce(cur, embedding_set)
    text = space.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    assert text.startswith("<!doctype html>") and "<svg" in text and "http" not in text.replace("http-equiv", "")
    assert space.report(format="md").startswith("# ")
    told = space.report(tmp_path / "report.json")
    assert told == json.loads((tmp_path / "report.json").read_text())
    assert told.space["records"] == 120
    with pytest.raises(InvalidArgumentError) as caught:
        space.report(tmp_path / "report.pdf")
    assert caught.value.reason == "unknown_format"
    assert not (tmp_path / "report.pdf").exists()


def test_a_worker_takes_a_retraining_keeps_it_and_completes_it(cur, embedding_set):
    space = train(cur, embedding_set)
    produce(cur, embedding_set)
    assert space.claim() is None
    begun = space.retrain("by hand")
    with pytest.raises(ConflictError) as caught:
        space.retrain()
    assert caught.value.reason == "retraining_open"
    todo = [one.id for one in space.recommend(5)]
    with space.claim("worker", lease_seconds=2) as lease:
        assert lease.id == begun.id and lease.event.retraining == begun.id
        lease.heartbeat(0.5, "half")
        # Longer than the lease, which the thread keeps.
        time.sleep(3)
        assert not lease.is_lost
        running = cur.retraining(begun.id)
        assert (running.state, running.progress, running.worker) == ("running", 0.5, "worker")
        new = {**embedding_set, "version": 8}
        done = lease.complete(new, metrics={"accuracy": 0.9}, metrics_before={"accuracy": 0.8}, consumed_ids=todo)
        assert done.state == "succeeded"
        assert lease.complete(new, metrics={"accuracy": 0.9}, metrics_before={"accuracy": 0.8}, consumed_ids=todo).state == "succeeded"
    assert cur.space(new).about().records == 0
    assert not {one.id for one in space.recommend(50, candidates=1.0)} & set(todo)
    assert [one.id for one in space.retrainings(state="succeeded")] == [begun.id]


def test_a_retraining_goes_on_without_a_worker_that_fails_or_is_lost(cur, embedding_set):
    space = train(cur, embedding_set)
    first = space.retrain()
    with pytest.raises(ZeroDivisionError):
        with space.claim():
            1 / 0
    failed = cur.retraining(first.id)
    assert failed.state == "failed" and "ZeroDivisionError" in failed.message
    second = space.retrain()
    lost = space.claim(lease_seconds=2)
    lost.close()
    end = time.monotonic() + 20
    while cur.retraining(second.id).state == "running":
        assert time.monotonic() < end
        time.sleep(0.1)
    taken = cur.claim(second.id, "another")
    with pytest.raises(ConflictError) as caught:
        lost.complete(metrics={})
    assert caught.value.reason == "lease_lost"
    assert cur.cancel(second.id).state == "cancelled"
    with pytest.raises(ConflictError):
        taken.heartbeat()
    taken.close()
    with pytest.raises(NotFoundError):
        cur.retraining("nothing")


def test_large_spaces_are_waited_for(cur, embedding_set):
    rows = 10_500
    vectors = np.concatenate([of_class(number, rows // 3, number) for number in range(3)])
    labels = [name for name in CLASSES for _ in range(rows // 3)]
    labels[7] = "owl"
    with cur.training(embedding_set) as session:
        session.log(vectors, [f"t/{row}" for row in range(rows)], label_classes=labels)
    space = cur.space(embedding_set)
    issues = space.label_issues(5, wait=120)
    assert issues.ready and issues[0].given_class == "owl" and issues[0].suggested_class == "cat"


def test_drift_says_that_production_moved(cur, embedding_set):
    space = train(cur, embedding_set, 40)
    day = 86_400.0
    calm = np.concatenate([of_class(number, 20, 30 + number) for number in range(3)])
    new = calm.copy()
    new[::2] = -4 * of_class(5, 30, 40)
    with cur.production(embedding_set) as session:
        for at, vectors in enumerate((calm, new)):
            uris = [f"day {at}/{row}" for row in range(60)]
            session.log(vectors, uris, inference_classes=["cat"] * 60, observed_at=[at * day + row for row in range(60)])
    told = space.drift("1d", by=["class", "cluster"])
    assert told.drifted and told.records == 60 and told.p < 0.05
    assert told.share_new > 0.3 and told.explanation
    assert told.timeline and told.cluster
    before = space.drift(start=0, end=3600.0)
    assert before.statistic < told.statistic
    with pytest.raises(InvalidArgumentError) as caught:
        space.drift(start=0, end=10.0)
    assert caught.value.reason == "too_few_records"
    with pytest.raises(InvalidArgumentError) as caught:
        space.drift("soon")
    assert caught.value.field == "window"


def test_exports_are_whole_files(cur, embedding_set, tmp_path):
    space = train(cur, embedding_set)
    produce(cur, embedding_set)
    space.export(tmp_path / "training.jsonl", "training")
    rows = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert len(rows) == 60 and len(rows[0]["embedding"]) == 8
    space.export(tmp_path / "todo.csv")
    assert len((tmp_path / "todo.csv").read_text().splitlines()) == len(space.recommend(100)) + 1
    parquet = pytest.importorskip("pyarrow.parquet")
    space.export(tmp_path / "training.parquet", "training")
    table = parquet.read_table(tmp_path / "training.parquet")
    assert table.select(["id", "label_class", "embedding"]).to_pylist() == [
        {name: row[name] for name in ("id", "label_class", "embedding")} for row in rows
    ]
    space.export(tmp_path / "todo.parquet")
    assert parquet.read_table(tmp_path / "todo.parquet")["id"].to_pylist() == [one.id for one in space.recommend(100)]
    space.export(tmp_path / "seen.parquet", "records", context="production", where={"inference_class": "cat"})
    seen = parquet.read_table(tmp_path / "seen.parquet")
    assert seen.num_rows == 60 and set(seen["inference_class"].to_pylist()) == {"cat"}
    assert set(seen["context"].to_pylist()) == {"production"} and None not in seen["trouble"].to_pylist()
    assert seen.schema.field("embedding").type.list_size == 8
    space.export(tmp_path / "issues.parquet", "issues")
    assert parquet.read_table(tmp_path / "issues.parquet").num_rows == space.issues().total
    with pytest.raises(InvalidArgumentError) as caught:
        space.export(tmp_path / "x.jsonl", "everything")
    assert caught.value.reason == "unknown_export"
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "issues.parquet", "seen.parquet", "todo.csv", "todo.parquet", "training.jsonl", "training.parquet"
    ]


def test_components_are_seen_and_switched(tmp_path):
    server = Server(tmp_path / "data")
    cur = curation.connect(server.client())
    names = [one["component"] for one in cur.status().components]
    assert {"indexer", "scorer", "class_statistics", "drift"} <= set(names)

    def state(status):
        return {one["component"]: one["state"] for one in status.components}["scorer"]

    assert state(cur.pause("scorer")) == "paused"
    assert state(cur.status()) == "paused"
    assert state(cur.resume("scorer")) != "paused"
    assert state(cur.run("scorer")) != "paused"
    assert "curation_scores" in [one.id for one in cur.jobs()]
    with pytest.raises(ConflictError) as caught:
        cur.pause("drift")
    assert caught.value.reason == "not_switchable"
    with pytest.raises(NotFoundError):
        cur.pause("nothing")
    with pytest.raises(NotFoundError):
        cur.cancel_job("nothing")
    assert server.stop() == 0


def test_lists_that_were_asked_for_while_scores_were_missing_are_made_again(cur, embedding_set):
    with cur.training(embedding_set) as session:
        session.log(np.concatenate([of_class(0, 40, 1), of_class(1, 40, 2)]), [f"t/{row}" for row in range(80)], label_classes=["cat"] * 40 + ["dog"] * 40)
    rows = 12_000
    with cur.production(embedding_set) as session:
        session.log(of_class(0, rows, 3, 1.0), [f"p/{row}" for row in range(rows)])
    space = cur.space(embedding_set)
    # Too many for a request: the server makes it meanwhile, of what has scores.
    space.recommend(5, explain=False)
    space.wait()
    assert space.recommend(5, explain=False).total > 0
    end = time.monotonic() + 60
    while not (told := space.recommend(5, explain=False, candidates=1.0)).ready:
        assert time.monotonic() < end, told
        time.sleep(0.1)
    assert told.total == 10_000


def test_a_trigger_begins_a_retraining_once_enough_is_labelled(cur, embedding_set):
    space = train(cur, embedding_set)
    produce(cur, embedding_set)
    trigger = space.add_trigger({"type": "amount", "labels": 2}, name="labels", min_interval_seconds=60)
    assert [one.id for one in space.triggers()] == [trigger.id] and trigger.name == "labels"
    todo = [one.id for one in space.recommend(3, explain=False)]
    space.label(todo, ["cat"] * len(todo), promote="v8")
    end = time.monotonic() + 20
    while not space.retrainings(trigger=trigger.id):
        assert time.monotonic() < end, "no retraining began"
        time.sleep(0.05)
    signed = space.add_trigger({"any": [{"type": "manual"}]}, webhook="http://127.0.0.1:9/x")
    assert len(signed.webhook["secret"]) == 64
    space.delete_trigger(signed.id)
    with pytest.raises(NotFoundError) as missing:
        space.delete_trigger(signed.id)
    assert missing.value.reason == "trigger_not_found"
    with pytest.raises(InvalidArgumentError) as wrong:
        space.add_trigger({"type": "mood"})
    assert wrong.value.reason == "unknown_policy"


def test_a_space_keeps_what_it_is_told_to(cur, embedding_set):
    space = train(cur, embedding_set)
    produce(cur, embedding_set)
    assert space.retention().retention is None
    told = space.retain(keep_records=10)
    assert told.retention == {
        "keep_versions": 3,
        "keep_days": 90.0,
        "keep_records": 10,
        "keep_training_days": None,
        "purge_after_days": None,
    }
    before = space.about().contexts["production"]
    assert space.expire(dry_run=True) and space.about().contexts["production"] == before
    space.expire()
    assert space.about().contexts["production"] == 10 < before
    assert space.retain_all().retention is None
    with pytest.raises(NotFoundError) as missing:
        space.delete_dataset("none")
    assert missing.value.reason == "dataset_not_found"
    space.delete_dataset("production")
    assert "production" not in space.about().contexts


def test_a_map_has_a_point_for_every_record(cur, embedding_set):
    pytest.importorskip("pyarrow")
    space = train(cur, embedding_set)
    produce(cur, embedding_set)
    table = space.map(["context"])
    assert table.column_names == ["id", "x", "y", "context"]
    assert table.num_rows == sum(space.about().contexts.values())
    assert np.isfinite(np.concatenate([table["x"].to_numpy(), table["y"].to_numpy()])).all()
    with pytest.raises(InvalidArgumentError):
        space.map(["embedding"] * 30)
    assert space.map(points=7).num_rows == 7
    part = space.map(bounds=(-1e9, -1e9, 0, 1e9))
    assert part.num_rows == sum(x <= 0 for x in table["x"].to_pylist())
