"""Curation with the official client: what is logged is in an ordinary collection."""

import base64
import hashlib
import json
import struct

import pytest

from conftest import Server


def ask(server, method, path, body=None):
    """The status and the JSON that a route of curation answers."""
    status, text = server.ask(method, f"/curation/v1/{path}", body)
    return status, json.loads(text)


def batch(name, **more):
    return {
        "embedding_set": {"model": name, "version": 7, "layer": "fc2"},
        "context": "training",
        "embeddings": [[1.0, 0.0], [0.0, 1.0]],
        "input_uris": ["s3://a", "s3://b"],
        "label_classes": ["cat", "dog"],
    } | more


def test_the_official_client_reads_what_was_logged(server):
    status, told = ask(server, "POST", "log", batch("read"))
    assert status == 201
    canonical = json.dumps({"model": "read", "version": 7, "layer": "fc2"}, sort_keys=True, separators=(",", ":"))
    assert told["embedding_set_key"] == hashlib.sha256(canonical.encode()).hexdigest()[:32]
    vector = base64.b64encode(struct.pack("<2f", 0.6, 0.8)).decode()
    later = {
        "embedding_set": {"layer": "fc2", "version": 7, "model": "read"},
        "context": "production",
        "embeddings": [vector],
        "input_uris": ["s3://c"],
        "probabilities": [[0.25, 0.75]],
        "class_names": ["cat", "dog"],
        "metadatas": [{"camera": 3}],
    }
    assert ask(server, "POST", "log", later)[0] == 201
    collection = server.client().get_collection(told["space"])
    assert collection.count() == 3
    found = collection.get(where={"context": "production"}, include=["metadatas", "uris", "embeddings"])
    assert found["uris"] == ["s3://c"]
    assert found["metadatas"][0]["inference_class"] == "dog"
    assert found["metadatas"][0]["camera"] == 3
    assert found["embeddings"][0] == pytest.approx([0.6, 0.8])
    probabilities = found["metadatas"][0]["probabilities"]
    assert probabilities.indices == [0, 1]
    assert probabilities.values == pytest.approx([0.25, 0.75])
    nearest = collection.query(query_embeddings=[[0.6, 0.8]], n_results=1, where={"context": "training"})
    assert nearest["ids"] == [[told["ids"][1]]]


def test_what_the_official_client_deletes_is_gone_from_the_space(server):
    _, told = ask(server, "POST", "log", batch("delete"))
    client = server.client()
    client.get_collection(told["space"]).delete(ids=told["ids"][:1])
    status, space = ask(server, "GET", f"spaces/{told['embedding_set_key']}")
    assert status == 200
    assert space["records"] == 1
    assert space["classes"] == ["dog"]
    client.delete_collection(told["space"])
    status, refusal = ask(server, "GET", f"spaces/{told['embedding_set_key']}")
    assert (status, refusal["error"]) == (404, "space_not_found")


def test_acknowledged_batches_survive_a_kill(tmp_path):
    server = Server(tmp_path)
    body = batch("kill", idempotency_key="once")
    _, told = ask(server, "POST", "log", body)
    server.process.kill()
    server.process.wait()
    server.start()
    assert ask(server, "POST", "log", body)[1] == told
    assert server.client().get_collection(told["space"]).count() == 2
    assert server.stop() == 0


def test_refusals_name_field_and_row(server):
    status, refusal = ask(server, "POST", "log", batch("refuse", embeddings=[[1.0, 0.0], [0.0, float("nan")]]))
    assert (status, refusal["error"], refusal["row"]) == (400, "not_finite", 1)
    status, refusal = ask(server, "POST", "log", batch("refuse", metadatas=[None, {"context": "x"}]))
    assert (status, refusal["error"], refusal["row"]) == (400, "reserved_metadata_key", 1)
    assert refusal["field"] == "metadata.context"


def test_issues_name_what_is_wrong_with_records_that_the_official_client_writes(server):
    vectors = [[1.0, n / 500] for n in range(20)] + [[n / 500, 1.0] for n in range(20)]
    body = batch(
        "issues",
        embeddings=vectors,
        ids=[f"t{n}" for n in range(40)],
        input_uris=[f"s3://{n}" for n in range(40)],
        label_classes=["cat"] * 20 + ["dog"] * 20,
        inference_classes=["cat"] * 20 + ["dog"] * 20,
    )
    _, told = ask(server, "POST", "log", body)
    path = f"spaces/{told['space']}"
    assert ask(server, "GET", f"{path}/issues?type=label")[1]["total"] == 0
    collection = server.client().get_collection(told["space"])
    collection.update(ids=["t7"], metadatas=[{"label_class": "dog"}])
    status, found = ask(server, "GET", f"{path}/issues?type=label")
    assert (status, found["ready"], found["total"]) == (200, True, 1)
    issue = found["issues"][0]
    assert (issue["id"], issue["given_class"], issue["suggested_class"]) == ("t7", "dog", "cat")
    assert "cat" in issue["explanation"]
    everything = ask(server, "GET", f"{path}/issues")[1]
    assert everything["total"] == sum(everything["totals"].values())
    confusion = ask(server, "GET", f"{path}/confusion?dataset=training")[1]
    assert confusion["records"] == 40
    assert confusion["accuracy"] == pytest.approx(39 / 40)
    wrong = [cell for cell in confusion["cells"] if cell["label_class"] != cell["inference_class"]]
    assert wrong == [{"label_class": "dog", "inference_class": "cat", "count": 1, "examples": ["t7"]}]


def test_drift_names_the_records_that_are_new(server):
    def vectors(x, y, count):
        return [[x + n % 7 / 100, y + n % 5 / 100] for n in range(count)]

    space = {"embedding_set": {"model": "drift"}}
    training = space | {"context": "training", "embeddings": vectors(1, 0, 60) + vectors(0, 1, 60)}
    training |= {"input_uris": [f"t{n}" for n in range(120)], "label_classes": ["cat"] * 60 + ["dog"] * 60}
    name = ask(server, "POST", "log", training)[1]["space"]
    seen = space | {"context": "production", "embeddings": vectors(1, 0, 40) + vectors(0, 1, 40) + vectors(-1, -1, 20)}
    seen |= {"ids": [f"p{n}" for n in range(100)], "input_uris": [f"p{n}" for n in range(100)]}
    seen |= {"observed_at": [1e9 + 60 * n for n in range(100)]}
    assert ask(server, "POST", "log", seen)[0] == 201
    status, told = ask(server, "GET", f"spaces/{name}/drift?window=1w&bucket=30m")
    assert (status, told["drifted"], told["records"]) == (200, True, 100)
    assert {int(one["id"][1:]) // 80 for one in told["witnesses"]} == {1}
    assert [bucket["drifted"] for bucket in told["timeline"]][-1] is not False
    status, refusal = ask(server, "GET", f"spaces/{name}/drift?window=5m")
    assert (status, refusal["error"], refusal["field"]) == (422, "too_few_records", "from")


def test_a_paused_scorer_is_paused_after_a_kill(tmp_path):
    server = Server(tmp_path)
    status, told = ask(server, "POST", "service/scorer/pause", {})
    assert status == 200
    assert {one["component"]: one["state"] for one in told["components"]}["scorer"] == "paused"
    server.process.kill()
    server.process.wait()
    server.start()
    told = ask(server, "GET", "status")[1]
    assert {one["component"]: one["state"] for one in told["components"]}["scorer"] == "paused"
    assert ask(server, "POST", "service/scorer/resume", {})[0] == 200
    assert [job["state"] for job in ask(server, "GET", "jobs")[1]["jobs"] if job["id"] == "curation_scores"] == ["running"]
    assert server.stop() == 0
