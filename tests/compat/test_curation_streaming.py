"""What curation says after random batches, deletions, labels and kills is what it says of the same records read anew."""

import json
import random
import urllib.parse

import pytest

from conftest import Server

CLASSES = [f"class {number}" for number in range(6)]
DIMENSION = 12


def ask(server, method, path, body=None):
    status, text = server.ask(method, f"/curation/v1/{path}", body)
    assert status < 300, (status, text)
    return json.loads(text)


class Stream:
    """A space that is written to at random, and what must be in it."""

    def __init__(self, folder, seed, metric):
        self.random, self.metric = random.Random(seed), metric
        self.server = Server(folder)
        self.records = {}
        self.logged = 0

    def vector(self, number):
        return [self.random.gauss(float(at == number), 0.35) for at in range(DIMENSION)]

    def log(self):
        """A batch of one context: every fifth record is one that is there already."""
        context = self.random.choice(["training", "production", "production", "production"])
        ids, vectors, labels = [], [], []
        known = [id for id, of in self.records.items() if of["context"] == context]
        for _ in range(self.random.randint(1, 97)):
            self.logged += 1
            old = known.pop(self.random.randrange(len(known))) if known and self.random.random() < 0.2 else None
            ids.append(old or f"r{self.logged:05}")
            number = self.random.randrange(len(CLASSES))
            vectors.append(self.vector(number))
            labels.append(CLASSES[number])
        dataset = f"{context} {self.logged // 400}"
        body = {"space": "stream", "context": context, "dataset": dataset, "ids": ids, "embeddings": vectors, "metric": self.metric}
        body["input_uris"] = [f"file:///{id}" for id in ids]
        body["label_classes" if context == "training" else "inference_classes"] = labels
        ask(self.server, "POST", "log", body)
        for id in ids:
            self.records[id] = {"context": context, "dataset": dataset}

    def collection(self):
        return self.server.client().get_collection("stream")

    def delete(self):
        gone = self.random.sample(sorted(self.records), min(5, len(self.records)))
        self.collection().delete(ids=gone)
        for id in gone:
            del self.records[id]

    def expire(self):
        """A whole training dataset goes."""
        names = sorted({of["dataset"] for of in self.records.values() if of["context"] == "training"})
        if len(names) < 2:
            return
        self.collection().delete(where={"dataset": names[0]})
        self.records = {id: of for id, of in self.records.items() if of["dataset"] != names[0]}

    def relabel(self):
        ids = self.random.sample(sorted(self.records), min(4, len(self.records)))
        classes = [self.random.choice(CLASSES) for _ in ids]
        promote = self.random.random() < 0.3
        ask(self.server, "POST", "spaces/stream/labels", {"ids": ids, "label_classes": classes, "promote": promote})
        for id in ids:
            if promote:
                self.records[id] = {"context": "training", "dataset": "training"}

    def decide(self):
        ids = [id for id, of in self.records.items() if of["context"] == "production"][:200]
        ids = self.random.sample(ids, min(3, len(ids)))
        if ids:
            ask(self.server, "POST", "spaces/stream/decisions", {"ids": ids, "decision": "junk"})

    def kill(self):
        self.server.process.kill()
        self.server.process.wait()
        self.server.start()

    def look(self):
        return ask(self.server, "POST", "spaces/stream/recommendations", {"n": 100})

    def told(self):
        """Trouble of some records, and the list."""
        production = sorted(id for id, of in self.records.items() if of["context"] == "production")
        some = random.Random(1).sample(production, min(60, len(production)))
        path = "spaces/stream/records/{}/explain"
        explained = [ask(self.server, "GET", path.format(urllib.parse.quote(id))) for id in some]
        troubles = [one["assessment"]["trouble"] for one in explained]
        whole = self.look()
        assert whole["stale_records"] == 0
        return troubles, [one["id"] for one in whole["recommendations"]]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_streaming_equals_batch_through_kills(tmp_path, seed, metric):
    stream = Stream(tmp_path, seed, metric)
    stream.log()
    while not {"training", "production"} <= {of["context"] for of in stream.records.values()}:
        stream.log()
    kills = {12, 27}
    for step in range(40):
        action = stream.random.choice([stream.log] * 6 + [stream.delete, stream.relabel, stream.relabel, stream.decide, stream.look, stream.expire])
        action()
        if step in kills:
            stream.kill()
    streamed, listed = stream.told()
    found = stream.collection().get(include=["metadatas"])
    contexts = {id: metadata["context"] for id, metadata in zip(found["ids"], found["metadatas"])}
    assert contexts == {id: of["context"] for id, of in stream.records.items()}
    stream.kill()
    anew, listed_anew = stream.told()
    assert streamed == pytest.approx(anew, abs=1e-4)
    assert listed == listed_anew
    assert stream.server.stop() == 0
