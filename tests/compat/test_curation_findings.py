"""What curation finds in data whose faults are known, and what it refuses."""

import base64
import json
import time
import urllib.error
import urllib.request
import uuid
from urllib.parse import quote

import numpy as np
import pytest

from test_curation_restarts import ask, told


class Space:
    """A space of its own on a server that others use too."""

    def __init__(self, server):
        self.server, self.name = server, f"space-{uuid.uuid4().hex}"

    def log(self, context, prefix, vectors, **columns):
        rows = np.asarray(vectors, "<f4")
        ids = [f"{prefix}{at:04}" for at in range(len(rows))]
        body = {"space": self.name, "context": context, "ids": ids, "input_uris": ids}
        body["embeddings"] = [base64.b64encode(row.tobytes()).decode() for row in rows]
        return told(self.server, "POST", "log", body | columns)

    def get(self, path):
        return told(self.server, "GET", f"spaces/{self.name}/{path}".rstrip("/"))

    def refused(self, method, path, body=None):
        """The status, the code and the field of a refusal."""
        status, text = ask(self.server, method, f"spaces/{self.name}/{path}", body)
        found = json.loads(text)
        return status, found["error"], found["field"]


@pytest.fixture
def space(server):
    return Space(server)


def classes(rows, seed, spread=0.5, count=4, dimension=8):
    random = np.random.default_rng(seed)
    truth = random.integers(0, count, rows)
    vectors = spread * random.normal(size=(rows, dimension))
    vectors[np.arange(rows), truth] += 1.0
    return vectors, truth


def learned(labels, count=4):
    """What a model says of labels that it knows by heart."""
    return (0.996 * np.eye(count) + 0.001)[labels].tolist()


def softmax(vectors, count=4):
    """What a model says that looks at the vectors."""
    raised = np.exp(3 * vectors[:, :count])
    return (raised / raised.sum(1, keepdims=True)).tolist()


def texts(labels):
    return [str(label) for label in labels]


NAMES = texts(range(4))


def test_probabilities_that_a_model_learned_by_heart_hide_no_wrong_label(space):
    vectors, truth = classes(600, 1, 0.4)
    labels = truth.copy()
    labels[:30] = (truth[:30] + 1) % 4
    told = {"label_classes": texts(labels), "class_names": NAMES}
    space.log("training", "t", vectors, probabilities=learned(labels), **told)
    seen, right = classes(1000, 2, 0.4)
    space.log("production", "p", seen, probabilities=softmax(seen), class_names=NAMES)
    issues = space.get("issues?type=label&limit=60")
    assert issues["client_by_heart"] is True and issues["experts"]["client"] == 0
    found = {one["id"] for one in issues["issues"]}
    assert len(found & {f"t{at:04}" for at in range(30)}) >= 24
    accuracy = (seen[:, :4].argmax(1) == right).mean()
    estimated = space.get("drift")["estimated_accuracy"]
    assert estimated["training_by_heart"] is True
    assert abs(estimated["accuracy"] - accuracy) < 0.08
    # Out of its training data the model has a voice.
    space.log("training", "t", vectors, probabilities=softmax(vectors), **told)
    issues = space.get("issues?type=label")
    assert issues["client_by_heart"] is False and issues["experts"]["client"] > 0.1
    assert space.get("drift")["estimated_accuracy"]["training_by_heart"] is False


def test_inferences_that_a_model_learned_by_heart_make_no_accuracy(space):
    vectors, truth = classes(600, 1, 0.7)
    space.log("training", "t", vectors, label_classes=texts(truth), inference_classes=texts(truth))
    seen, right = classes(1000, 2, 0.7)
    said = seen[:, :4].argmax(1)
    space.log("production", "p", seen, inference_classes=texts(said))
    estimated = space.get("drift")["estimated_accuracy"]
    assert estimated["training_by_heart"] is True
    assert abs(estimated["accuracy"] - (said == right).mean()) < 0.08


def test_the_accuracy_is_bounded_where_records_are_new(space):
    vectors, truth = classes(400, 1, 0.3)
    space.log("training", "t", vectors, label_classes=texts(truth))
    seen, _ = classes(300, 2, 0.3)
    # A class that training does not have.
    seen[:60, :] = -1.0 + 0.1 * np.random.default_rng(3).normal(size=(60, 8))
    space.log("production", "p", seen)
    moved = space.get("drift")
    low, high = moved["estimated_accuracy"]["bounds"]
    assert moved["share_new"] >= 0.2
    assert low <= 0.8 and high - low >= 0.2
    assert low <= moved["estimated_accuracy"]["accuracy"] <= high


def test_copies_with_a_little_noise_leak_and_independent_records_do_not(space):
    random = np.random.default_rng(5)
    vectors = random.normal(size=(900, 32))
    space.log("training", "t", vectors[:500])
    fresh = vectors[500:].copy()
    space.log("test", "x", fresh)
    assert space.get("issues?type=leak")["total"] == 0
    assert space.get("issues?type=near_duplicate")["total"] == 0
    fresh[:100] = vectors[:100] + 0.02 * random.normal(size=(100, 32))
    space.log("test", "x", fresh)
    issues = space.get("issues?type=leak&limit=1000")
    found = {id for one in issues["issues"] for id in one["ids"] if id.startswith("x")}
    assert found == {f"x{at:04}" for at in range(100)}


def test_all_records_of_a_large_cluster_are_told_page_by_page(space):
    space.log("training", "t", np.vstack([np.ones((45, 8)), np.random.default_rng(1).normal(size=(60, 8))]))
    one = space.get("issues?type=near_duplicate")["issues"][0]
    assert (one["records"], len(one["ids"])) == (45, 20)
    rest = space.get("issues?type=near_duplicate&ids_limit=40&ids_offset=20")["issues"][0]
    assert sorted(one["ids"] + rest["ids"]) == [f"t{at:04}" for at in range(45)]
    assert rest["id"] == one["id"] == "t0000"
    assert space.refused("GET", "issues?ids_limit=10001") == (400, "too_many_records", "ids_limit")


def test_the_only_example_of_a_class_is_not_called_wrong(space):
    vectors, truth = classes(200, 1, 0.2)
    labels = texts(truth)
    labels[:5] = [f"only {at}" for at in range(5)]
    space.log("training", "t", vectors, label_classes=labels)
    issues = space.get("issues?type=label&all=true&limit=1000")
    rare = [one for one in issues["issues"] if one["given_class"].startswith("only")]
    assert len(rare) == 5
    for one in rare:
        assert one["score"] <= 0 and "too few" in one["explanation"]


def test_reasons_say_whether_ranks_are_among_training_or_production(space):
    vectors, truth = classes(300, 1, 0.3)
    space.log("training", "t", vectors, label_classes=texts(truth))
    far = -3.0 * np.eye(8)[:2]
    few = space.log("production", "f", far, assess=True)["assessments"][0]["reasons"]
    assert any("of training" in one for one in few) and not any("production" in one for one in few)
    space.log("production", "p", classes(300, 2, 0.3)[0])
    explained = space.get("records/f0000/explain")["assessment"]["reasons"]
    assert any("of what production sees" in one for one in explained)


def test_one_record_of_huge_numbers_is_no_drift(space):
    vectors, _ = classes(600, 1, 1.0)
    space.log("training", "t", vectors[:300], label_classes=["a"] * 300)
    space.log("production", "p", vectors[300:])
    space.log("production", "b", np.full((1, 8), 3e38))
    moved = space.get("drift")
    assert moved["statistic"] is not None and not moved["drifted"]


def test_chance_is_the_same_in_whatever_order_records_of_groups_came(server):
    vectors = np.random.default_rng(4).normal(size=(400, 8))
    vectors[250:] += 0.06
    found = set()
    for seed in range(5):
        space, order = Space(server), np.random.default_rng(seed).permutation(400)
        for context, part in (("training", order[order < 250]), ("production", order[order >= 250])):
            ids, groups = texts(part), [f"g{at % 37}" for at in part]
            space.log(context, "", vectors[part], ids=ids, groups=groups)
        found.add(space.get("drift")["p"])
    assert len(found) == 1


def test_a_chance_that_can_never_alarm_is_refused(space):
    vectors, _ = classes(400, 1)
    space.log("training", "t", vectors[:200])
    space.log("production", "p", vectors[200:] + 3.0)
    assert space.refused("GET", "drift?alpha=0.001") == (400, "out_of_range", "alpha")
    moved = space.get("drift?alpha=0.002")
    assert moved["drifted"] and moved["p"] <= 0.002
    assert all(one["drifted"] for one in moved["timeline"] if not one["too_few"])


def test_what_is_wrong_with_a_query_string_is_told_with_the_parameter(space):
    space.log("training", "t", np.eye(8))
    for path, code, field in [
        ("issues?bogus=1", "unknown_field", "bogus"),
        ("drift?foo=1", "unknown_field", "foo"),
        ("issues?limit=abc", "invalid_argument", "limit"),
        ("issues?offset=-1", "invalid_argument", "offset"),
        ("confusion?what=1", "unknown_field", "what"),
        ("export?fromat=csv", "unknown_field", "fromat"),
        ("map?field=x", "unknown_field", "field"),
        ("report?form=md", "unknown_field", "form"),
        ("retrainings?sate=x", "unknown_field", "sate"),
        ("triggers?limit=many", "invalid_argument", "limit"),
        # What is wrong with the question comes before what the space lacks.
        ("drift?by=foo", "unknown_breakdown", "by"),
        ("drift?alpha=2", "out_of_range", "alpha"),
    ]:
        assert space.refused("GET", path) == (400, code, field), path
    assert space.refused("GET", "drift")[:2] == (422, "too_few_records")


def test_datasets_that_no_record_has_are_refused(space):
    space.log("training", "t", np.eye(8), label_classes=list("abababab"))
    space.log("production", "p", np.eye(8))
    nope = {"datasets": ["production", "nope"]}
    assert space.refused("POST", "recommendations", nope) == (404, "dataset_not_found", "datasets")
    assert space.refused("GET", "confusion?dataset=nope") == (404, "dataset_not_found", "dataset")
    assert space.refused("GET", "drift?reference=nope") == (404, "dataset_not_found", "reference")


def test_pages_of_spaces_and_embedding_sets_are_no_longer_than_allowed(server, space):
    space.log("training", "t", np.eye(8))
    for path in ("spaces", "embeddingsets"):
        status, text = ask(server, "GET", f"{path}?limit=1001")
        assert (status, json.loads(text)["field"]) == (400, "limit")
    everything = told(server, "GET", "embeddingsets")
    assert told(server, "GET", "embeddingsets?limit=1&offset=0") == everything[:1]


def test_moments_of_a_column_are_taken_under_its_plural(space):
    space.log("production", "p", np.eye(8), observed_ats=list(range(100, 108)))
    assert space.get("")["first_observed_at"] == 100


def test_what_is_wrong_with_the_vectors_of_a_stream_is_told_as_of_other_forms(server, space):
    arrow = pytest.importorskip("pyarrow")

    def refused(columns):
        table, sink = arrow.table(columns), arrow.BufferOutputStream()
        with arrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        url = f"http://{server.host}:{server.port}/curation/v1/log?space={space.name}&context=test"
        kind = {"Content-Type": "application/vnd.apache.arrow.stream"}
        request = urllib.request.Request(url, sink.getvalue().to_pybytes(), kind, method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request)
        found = json.loads(raised.value.read())
        return found["error"], found["field"], found["row"]

    uris = arrow.array(["a", "b"])
    ragged = arrow.array([[1.0, 2.0], [1.0]], arrow.list_(arrow.float32()))
    assert refused({"input_uri": uris, "embedding": ragged}) == ("dimension_mismatch", "embedding", 1)
    assert refused({"input_uri": uris}) == ("missing_field", "embedding", None)


def test_a_space_that_takes_a_name_which_was_given_up_has_a_key_of_its_own(server, space):
    space.log("training", "t", np.eye(8))
    renamed = f"renamed-{uuid.uuid4().hex}"
    server.client().get_collection(space.name).modify(name=renamed)
    space.log("training", "u", np.eye(8))
    old, new = space.get(""), told(server, "GET", f"spaces/{renamed}")
    assert old["embedding_set_key"] != new["embedding_set_key"]
    assert old["records"] == new["records"] == 8


def test_an_embedding_set_that_only_forks_have_is_ambiguous(server, space):
    mark = {"model": uuid.uuid4().hex}
    space.log("training", "t", np.eye(8), embedding_set=mark)
    collection = server.client().get_collection(space.name)
    forks = [f"fork-{at}-{uuid.uuid4().hex}" for at in range(2)]
    for name in forks:
        collection.fork(name)
    body = {"embedding_set": mark, "context": "test", "embeddings": [[1.0] * 8], "input_uris": ["a"]}
    assert told(server, "POST", "log", body)["space"] == space.name
    server.client().delete_collection(space.name)
    status, text = ask(server, "POST", "log", body)
    refusal = json.loads(text)
    assert (status, refusal["error"]) == (409, "ambiguous_embedding_set")
    assert all(name in refusal["message"] for name in forks)
    assert told(server, "POST", "log", body | {"space": forks[1]})["space"] == forks[1]
    server.client().delete_collection(forks[0])
    assert told(server, "POST", "log", body)["space"] == forks[1]


def recommended(space, **asked):
    return told(space.server, "POST", f"spaces/{space.name}/recommendations", {"n": 1000} | asked)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_trouble_is_the_same_whoever_tells_it_and_votes_go_by_lengths_where_they_mean_something(space, metric):
    random = np.random.default_rng(0)
    centres = 1.2 * random.normal(size=(4, 8))
    truth, seen = random.integers(0, 4, 300), random.integers(0, 4, 300)
    training = centres[truth] + random.normal(size=(300, 8))
    production = centres[seen] + random.normal(size=(300, 8))
    space.log("training", "t", training, label_classes=texts(truth), metric=metric)
    space.log("production", "p", production, inference_classes=texts(seen))
    listed = recommended(space, objective="verify", candidates=1.0)["recommendations"]
    body = {"embeddings": production.tolist(), "inference_classes": texts(seen)}
    assessed = told(space.server, "POST", f"spaces/{space.name}/assess", body)["assessments"]
    near = np.linalg.norm(unit(production)[:, None] - unit(training)[None], axis=2)
    with_lengths = np.linalg.norm(production[:, None] - training[None], axis=2)
    nearest = np.argsort(with_lengths if metric == "l2" else near, 1)[:, :20]
    other = (truth[nearest] != seen[:, None]).mean(1)
    assert len(listed) == 300
    for entry in listed:
        at = int(entry["id"][1:])
        parts = entry["parts"]
        assert parts == assessed[at]["parts"]
        assert entry["trouble"] == pytest.approx(assessed[at]["trouble"], abs=1e-6)
        assert parts["novelty"]["value"] == pytest.approx(near[at].min(), abs=1e-4)
        assert parts["disagreement"]["value"] == pytest.approx(other[at], abs=1e-6)
    # One weighted mean of the percentiles, the same for all.
    names = sorted(listed[0]["parts"])
    percentiles = np.array([[entry["parts"][name]["percentile"] for name in names] for entry in listed])
    trouble = np.array([entry["trouble"] for entry in listed])
    weights = np.linalg.lstsq(percentiles, trouble, rcond=None)[0]
    assert len(names) == 4 and weights.min() >= -1e-6 and weights.sum() == pytest.approx(1, abs=1e-4)
    counted = told(space.server, "GET", f"spaces/{space.name}/signals")["signals"]
    assert sorted((one["signal"], pytest.approx(one["share"], abs=1e-4)) for one in counted) == list(zip(names, weights))
    assert percentiles @ weights == pytest.approx(trouble, abs=1e-5)
    for at in range(0, 300, 50):
        explained = space.get(f"records/p{at:04}/explain")["assessment"]
        assert explained["trouble"] == pytest.approx(assessed[at]["trouble"], abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_copies_and_leaks_are_found_however_long_the_vectors_are(space, metric):
    random = np.random.default_rng(1)
    vectors = random.normal(size=(300, 16))
    longer = random.uniform(0.2, 5, size=(20, 1))
    every = np.concatenate([vectors, vectors[:20] * longer])
    space.log("training", "t", every, label_classes=["a"] * 320, metric=metric)
    space.log("test", "e", vectors[100:110] * longer[:10], label_classes=["a"] * 10)
    totals = space.get("issues?limit=1")["totals"]
    assert (totals["near_duplicate"], totals["leak"]) == (30, 10)
    assert space.get("issues?type=near_duplicate&threshold=0.01")["total"] == 30


@pytest.mark.parametrize("order", [("training", "production"), ("production", "training")])
def test_versions_are_of_training_whatever_else_has_their_name(space, order):
    for name in ("run1", "run2"):
        for context in order:
            told_of = {"label_classes": ["a", "b"] * 4} if context == "training" else {}
            space.log(context, f"{name}{context}", np.eye(8), dataset=name, **told_of)
    known = {one["name"]: one for one in space.get("")["datasets"]}
    assert known["run1"]["contexts"] == {"production": 8, "training": 8}
    assert known["run1"]["context"] is None
    labels = {"ids": ["run1production0000"], "label_classes": ["a"]}
    told(space.server, "POST", f"spaces/{space.name}/labels", labels)
    told(space.server, "PUT", f"spaces/{space.name}/retention", {"keep_versions": 1})
    report = told(space.server, "POST", f"spaces/{space.name}/expire", {})
    assert report["datasets"] == [{"name": "run1", "why": "keep_versions", "records": 8}]
    found = space.get("")
    assert found["contexts"] == {"production": 16, "training": 8}
    known = {one["name"]: one for one in found["datasets"]}
    assert known["run1"]["contexts"] == {"production": 8}
    assert (known["run1"]["context"], known["run2"]["records"]) == ("production", 16)
    # Training that comes again under the old name is the newest.
    space.log("training", "again", np.eye(8), dataset="run1", label_classes=["a", "b"] * 4)
    report = told(space.server, "POST", f"spaces/{space.name}/expire", {})
    assert [one["name"] for one in report["datasets"]] == ["run2"]
    # Deleted is all of it.
    report = told(space.server, "DELETE", f"spaces/{space.name}/datasets/run1")
    assert report["records"] == 16


def test_a_dataset_leaves_when_its_end_comes(space):
    end = {"dataset": "brief", "dataset_metadata": {"expires_at": time.time() + 2}}
    space.log("training", "t", np.eye(8), label_classes=["a", "b"] * 4, **end)
    space.log("training", "u", np.eye(8), label_classes=["a", "b"] * 4, dataset="kept")
    assert space.get("")["records"] == 16
    until = time.time() + 20
    while space.get("")["records"] == 16 and time.time() < until:
        time.sleep(0.2)
    assert [one["name"] for one in space.get("")["datasets"]] == ["kept"]


def test_exports_name_all_records_of_a_cluster(space):
    vectors = np.concatenate([np.tile(np.eye(8)[0], (60, 1)), np.random.default_rng(2).normal(size=(60, 8))])
    space.log("training", "t", vectors, label_classes=["a", "b"] * 60)
    status, text = ask(space.server, "GET", f"spaces/{space.name}/export?what=issues&format=jsonl")
    assert status == 200, text
    rows = [json.loads(line) for line in text.splitlines()]
    assert max(len(row["ids"] or []) for row in rows if row["type"] == "near_duplicate") == 60


def exported(space, query):
    status, text = ask(space.server, "GET", f"spaces/{space.name}/export?format=jsonl&{quote(query, safe='=&')}")
    assert status == 200, text
    return [json.loads(line) for line in text.splitlines()]


def test_exported_reasons_are_those_that_a_look_at_the_neighbours_tells(space):
    vectors, truth = classes(300, 1)
    space.log("training", "t", vectors, label_classes=texts(truth))
    seen, _ = classes(400, 2)
    space.log("production", "p", seen, inference_classes=texts(np.arange(400) % 4))
    page = told(space.server, "POST", f"spaces/{space.name}/recommendations", {"n": 1000})["recommendations"]
    rows = exported(space, "what=recommendations")
    assert len(rows) > 100 and any("nearest training records" in one for row in rows for one in row["reasons"])
    for row, entry in zip(rows, page, strict=True):
        assert {key: entry[key] for key in row} == row


def test_records_are_exported_as_they_were_logged_with_what_became_of_them(space):
    vectors, truth = classes(300, 1)
    space.log("training", "t", vectors, label_classes=texts(truth), dataset="v1")
    seen, _ = classes(250, 2)
    cells = [{"camera": "north" if at % 2 else "south", "light": at / 4} for at in range(250)]
    uris = [f"s3://seen/{at}" for at in range(250)]
    probabilities = softmax(seen)
    space.log(
        "production", "p", seen, metadatas=cells, probabilities=probabilities, class_names=NAMES, groups=["g"] * 250,
        observed_at=list(range(250)), input_uris=uris, quality_scores=[0.5] * 250,
    )
    path = f"spaces/{space.name}"
    told(space.server, "POST", f"{path}/decisions", {"ids": ["p0001"], "decision": "junk"})
    told(space.server, "POST", f"{path}/labels", {"ids": ["p0002"], "label_classes": ["3"], "promote": "v2"})
    space.get("drift")  # So that all is scored.
    rows = exported(space, "what=records")
    assert [row["id"] for row in rows] == [f"p{at:04}" for at in range(250)] + [f"t{at:04}" for at in range(300)]
    row = rows[1]
    assert (row["decision"], row["context"], row["dataset"]) == ("junk", "production", "production")
    assert row["decided_at"] > 1e9 and row["input_uri"] == "s3://seen/1" and row["group"] == "g"
    assert (row["observed_at"], row["quality_score"], row["metadata"]) == (1, 0.5, {"camera": "north", "light": 0.25})
    assert np.allclose(row["embedding"], seen[1], atol=1e-6)
    assert np.allclose([row["probabilities"][name] for name in NAMES], probabilities[1], atol=1e-6)
    explained = space.get("records/p0001/explain")
    assert row["trouble"] == explained["assessment"]["trouble"] and row["score_epoch"] == explained["score_epoch"]
    promoted = rows[2]
    assert (promoted["context"], promoted["dataset"], promoted["promoted_from"]) == ("training", "v2", "production")
    assert promoted["label_class"] == "3" and promoted["trouble"] is None
    north = exported(space, 'what=records&context=production&where={"camera":"north"}')
    assert [one["id"] for one in north] == [f"p{at:04}" for at in range(1, 250, 2)]
    assert len(exported(space, "what=records&dataset=v1")) == 300
    assert exported(space, "what=records&dataset=v1&context=production") == []
    assert [one["id"] for one in exported(space, "what=training&dataset=v2")] == ["p0002"]
    assert len(exported(space, 'what=training&where={"label_class":"3"}')) == 1 + (truth == 3).sum()
    listed = exported(space, 'what=recommendations&where={"camera":"north"}')
    assert listed and all(int(one["id"][1:]) % 2 for one in listed)
    for query, refusal in [
        ("what=issues&dataset=v1", (400, "unknown_field", "dataset")),
        ("what=training&context=test", (400, "unknown_field", "context")),
        ("what=records&context=work", (400, "unknown_context", "context")),
        ("what=records&dataset=v9", (404, "dataset_not_found", "dataset")),
        ("what=records&where=camera", (400, "bad_filter", "where")),
        ('what=records&where={"a":{"$x":1}}', (400, "bad_filter", "where")),
    ]:
        assert space.refused("GET", f"export?{quote(query, safe='=&')}") == refusal


def test_what_is_known_of_a_record_has_its_place_on_the_list_and_in_the_drift(space):
    vectors, truth = classes(300, 1, 0.3)
    labels = texts(truth)
    labels[7] = texts([(truth[7] + 1) % 4])[0]
    space.log("training", "t", vectors, label_classes=labels)
    seen, _ = classes(300, 2, 0.3)
    seen[:60] = -1.0 + 0.1 * np.random.default_rng(3).normal(size=(60, 8))
    space.log("production", "p", seen)
    before = space.get("records/p0000/explain")
    assert before["drift"] is None and before["label_issue"] is None and before["map"] is None
    moved = space.get("drift")
    best = moved["witnesses"][0]
    known = space.get(f"records/{best['id']}/explain")["drift"]
    assert abs(known["witness"] - best["witness"]) < 1e-6
    told_of = ("from", "to", "reference", "statistic", "p", "drifted", "epoch", "as_of_seq")
    assert {name: known[name] for name in told_of} == {name: moved[name] for name in told_of}
    usual = space.get("records/t0000/explain")["drift"]["witness"]
    assert usual < 0 < known["witness"]
    entry = told(space.server, "POST", f"spaces/{space.name}/recommendations", {"n": 5})["recommendations"][3]
    listed = space.get(f"records/{entry['id']}/explain")["recommendation"]
    assert listed == {name: entry[name] for name in ("rank", "priority", "gain", "coverage", "stands_for")}
    assert space.get("records/t0001/explain")["recommendation"] is None
    space.get("issues?type=label")
    wrong = space.get("records/t0007/explain")["label_issue"]
    assert (wrong["given_class"], wrong["suggested_class"]) == (labels[7], texts(truth)[7]) and wrong["score"] > 0
    address = f"http://{space.server.host}:{space.server.port}/curation/v1/spaces/{space.name}/map"
    assert urllib.request.urlopen(address).read()
    assert len(space.get("records/p0000/explain")["map"]) == 2


def test_pairs_of_labels_that_are_confused_equally_often_are_told_by_name(server):
    vectors, truth = classes(400, 3, 0.3)
    labels = truth.copy()
    for at in range(4):
        of_it = np.flatnonzero(truth == at)[:6]
        labels[of_it[:3]], labels[of_it[3:]] = (at + 1) % 4, (at + 2) % 4
    found = []
    for seed in range(3):
        one = Space(server)
        order = np.random.default_rng(seed).permutation(400)
        ids = [f"t{at:04}" for at in order]
        one.log("training", "t", vectors[order], label_classes=texts(labels[order]), ids=ids, input_uris=ids)
        found.append(one.get("issues?type=label")["estimated_errors"])
    assert found[0] == found[1] == found[2]
    keys = [(-pair["count"], pair["given_class"], pair["suggested_class"]) for pair in found[0]]
    assert keys == sorted(keys) and len(keys) > 4


def test_records_that_a_model_was_trained_on_and_that_are_not_there_are_named(server, space):
    space.log("training", "t", np.eye(8), label_classes=["a", "b"] * 4)
    made = told(server, "POST", f"spaces/{space.name}/retrainings", {})
    taken = told(server, "POST", f"retrainings/{made['id']}/claim", {})
    missing = [f"gone{at:02}" for at in range(30)]
    done = {"lease": taken["lease"], "consumed_ids": ["t0001", *missing]}
    result = told(server, "POST", f"retrainings/{made['id']}/complete", done)["result"]
    assert (result["consumed"], result["consumed_missing"]) == (1, 30)
    assert result["missing_ids"] == missing[:20]


def test_caps_of_nothing_and_another_metric_are_refused_in_words(server, space):
    space.log("training", "t", np.eye(8), label_classes=["a", "b"] * 4, metric="l2")
    for cap in ("per_class_cap", "per_group_cap"):
        assert space.refused("POST", "recommendations", {cap: 0}) == (400, "out_of_range", cap)
    body = {"space": space.name, "context": "test", "metric": "ip", "embeddings": [[1.0] * 8], "input_uris": ["a"]}
    status, text = ask(server, "POST", "log", body)
    refusal = json.loads(text)
    assert (status, refusal["error"]) == (409, "metric_changed")
    assert "`l2`" in refusal["message"] and "`ip`" in refusal["message"]


def test_lists_of_well_separated_data_do_not_depend_on_how_they_came(server):
    random = np.random.default_rng(3)
    centres = random.uniform(-1.5, 1.5, size=(4, 40))
    truth = random.integers(0, 4, 900)
    vectors = centres[truth] + random.normal(size=(900, 40))
    found = []
    for seed in (None, 0):
        one = Space(server)
        order = np.arange(900) if seed is None else np.random.default_rng(seed).permutation(900)
        for context, rows in (("training", order[order < 500]), ("production", order[order >= 500])):
            for part in np.array_split(rows, 1 if seed is None else 9):
                ids = [f"r{at:04}" for at in part]
                told_of = {"label_classes": texts(truth[part])} if context == "training" else {}
                one.log(context, "r", vectors[part], **told_of | {"ids": ids, "input_uris": ids})
        listed = recommended(one, objective="verify", candidates=1.0)["recommendations"]
        found.append({entry["id"]: entry for entry in listed})
    assert len({entry["parts"]["uncertainty"]["value"] for entry in found[0].values()}) > 350
    for name, entry in found[0].items():
        assert found[1][name]["trouble"] == pytest.approx(entry["trouble"], abs=1e-4)
