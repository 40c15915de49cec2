"""What curation tells of a space that it has not read or scored to the end: that, and nothing that is half true."""

import base64
import json
import time

import numpy as np

from conftest import Server

CLASSES = 5
DIMENSION = 8
TRAINING = 300
#: More than one request scores.
PRODUCTION = 6000


def ask(server, method, path, body=None):
    """The status of an answer of a route of curation, and its text."""
    return server.ask(method, f"/curation/v1/{path}", body)


def told(server, method, path, body=None):
    status, text = ask(server, method, path, body)
    assert status < 300, (status, text)
    return json.loads(text)


def records(rows, seed, spread=0.4):
    """Vectors around the corners of classes, and the classes."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, CLASSES, rows)
    vectors = spread * random.normal(size=(rows, DIMENSION))
    vectors[np.arange(rows), classes] += 1.0
    return vectors.astype("<f4"), classes


def log(server, context, prefix, vectors, labels=None):
    body = {
        "space": "space",
        "context": context,
        "ids": [f"{prefix}{at}" for at in range(len(vectors))],
        "input_uris": [f"file:///{prefix}{at}" for at in range(len(vectors))],
        "embeddings": [base64.b64encode(row.tobytes()).decode() for row in vectors],
    }
    if labels is not None:
        body["label_classes"] = [str(label) for label in labels]
    return told(server, "POST", "log", body)


def fill(server, production=PRODUCTION):
    log(server, "training", "t", *records(TRAINING, 1))
    log(server, "production", "p", records(production, 2)[0])


def recommended(server, n=1000):
    status, text = ask(server, "POST", "spaces/space/recommendations", {"n": n, "explain": False})
    assert status in (200, 202), text
    return json.loads(text)


def until(what, seconds=90):
    begun = time.monotonic()
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() - begun < seconds, "it takes too long"
        time.sleep(0.1)


def restart(server):
    server.process.kill()
    server.process.wait()
    server.start()


def test_a_list_is_told_as_ready_only_when_all_records_are_scored(tmp_path):
    server = Server(tmp_path)
    fill(server)
    lists = []

    def look():
        """Whether the list is ready; then it is whole."""
        status, lines = ask(server, "GET", "spaces/space/export?what=recommendations&format=jsonl")
        page = recommended(server)
        issues = told(server, "GET", "spaces/space/issues?type=underperforming_cluster")
        moved = told(server, "GET", "spaces/space/drift")
        if page["ready"]:
            assert page["stale_records"] == 0 and len(page["recommendations"]) == min(1000, page["total"])
            lists.append([page["total"], page["coverage"], [one["id"] for one in page["recommendations"]]])
        else:
            assert page["recommendations"] == [] and page["total"] == 0
        if issues["ready"]:
            assert issues["stale_records"] == 0
        if moved["ready"]:
            assert moved["estimated_accuracy"]["records"] == PRODUCTION
        # What is exported is the whole list, or refused.
        assert status in (200, 429), lines
        assert status == 429 or lines.count("\n") > 1000
        return page["ready"] and issues["ready"] and moved["ready"]

    assert not look(), "more was scored at once than a request scores"
    until(look)
    restart(server)
    assert not look(), "more was scored at once than a request scores"
    until(look)
    # An epoch that moves has all of it scored anew.
    told(server, "POST", "spaces/space/labels", {"ids": ["p3"], "label_classes": ["1"], "promote": True})
    page = recommended(server)
    assert not page["ready"]
    assert lists[0] == lists[-1]
    assert server.stop() == 0


def ids_of(page):
    return [one["id"] for one in page["recommendations"]]


def ask_page(server, cursor):
    """The status and the answer of the page that a cursor leads to, once the list is made again."""
    def look():
        body = {"n": 200, "explain": False, "cursor": cursor}
        status, text = ask(server, "POST", "spaces/space/recommendations", body)
        found = json.loads(text)
        waits = status == 503 and found["error"] == "not_ready" and "same cursor" in found["hint"]
        return not waits and (status, found)
    return until(look)


def test_a_cursor_leads_on_after_a_kill_or_says_what_to_do(tmp_path):
    server = Server(tmp_path)
    fill(server)
    until(lambda: recommended(server)["ready"])
    whole = ids_of(recommended(server))
    first = recommended(server, 200)
    restart(server)
    status, second = ask_page(server, first["cursor"])
    assert status == 200 and ids_of(second) == whole[200:400]
    assert second["recommendations"][0]["rank"] == 201
    # What changes nothing of the list changes nothing for who reads it.
    log(server, "test", "x", *records(5, 7))
    restart(server)
    status, third = ask_page(server, second["cursor"])
    assert status == 200 and ids_of(first) + ids_of(second) + ids_of(third) == whole[:600]
    told(server, "POST", "spaces/space/decisions", {"ids": whole[:3], "decision": "junk"})
    restart(server)
    status, refusal = ask_page(server, third["cursor"])
    assert (status, refusal["error"], refusal["field"]) == (409, "cursor_expired", "cursor")
    assert "without a cursor" in refusal["hint"]
    assert not set(ids_of(recommended(server))) & set(whole[:3])
    assert server.stop() == 0


def runs(server):
    return told(server, "GET", "spaces/space/retrainings")["total"]


def judged(server):
    """Waits until the only trigger is judged once more."""
    def look():
        return told(server, "GET", "spaces/space/triggers")["triggers"][0]["judged_at"]
    before = look()
    log(server, "production", f"q{time.time()}", records(1, 3)[0])
    until(lambda: look() not in (None, before))
    return told(server, "GET", "spaces/space/triggers")["triggers"][0]["judged"]


def test_a_trigger_that_has_fired_for_the_training_data_does_not_fire_again_after_a_restart(tmp_path):
    server = Server(tmp_path)
    fill(server, 100)
    epoch = recommended(server)["epoch"]
    told(server, "POST", "spaces/space/triggers", {"policy": {"type": "coverage", "above": 0.01}})
    until(lambda: runs(server) == 1)
    run = told(server, "GET", "spaces/space/retrainings")["retrainings"][0]["id"]
    told(server, "POST", f"retrainings/{run}/cancel")
    log(server, "production", "later", records(5, 4)[0])
    for _ in range(2):
        restart(server)
        assert recommended(server)["epoch"] == epoch
        assert "has fired" in until(lambda: judged(server))["text"]
        assert runs(server) == 1
    # A label that comes into it arms the trigger again.
    told(server, "POST", "spaces/space/labels", {"ids": ["p3"], "label_classes": ["1"], "promote": True})
    until(lambda: runs(server) == 2)
    moved = recommended(server)["epoch"]
    assert moved > epoch
    restart(server)
    assert recommended(server)["epoch"] == moved
    assert server.stop() == 0


def test_estimated_performance_is_judged_of_all_records_or_not_at_all(tmp_path):
    server = Server(tmp_path)
    log(server, "training", "t", *records(TRAINING, 1))
    # The first by their ids, and so the first that are scored.
    log(server, "production", "a", records(500, 2, 4.0)[0])
    log(server, "production", "b", records(PRODUCTION, 3, 0.2)[0])
    until(lambda: recommended(server)["ready"])
    accuracy = told(server, "GET", "spaces/space/drift")["estimated_accuracy"]["accuracy"]
    policy = {"type": "performance", "below": accuracy - 0.02}
    told(server, "POST", "spaces/space/triggers", {"policy": policy})
    until(lambda: told(server, "GET", "spaces/space/triggers")["triggers"][0]["judged"])
    assert runs(server) == 0
    restart(server)
    seen = []

    def look():
        judgement = told(server, "GET", "spaces/space/triggers")["triggers"][0]["judged"]
        seen.append(judgement)
        return judgement and judgement.get("accuracy")

    until(look)
    assert all(one is None or not one["met"] for one in seen), seen
    assert runs(server) == 0
    assert server.stop() == 0
