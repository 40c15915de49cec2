"""What curation finds in recordings of 2022: digits with a model's log-softmax, and objects in photographs.

    python examples/curation/recordings.py FOLDER            # starts a server of its own
    python examples/curation/recordings.py FOLDER --url http://localhost:8000

FOLDER holds mnist_train.jsonl.bz2, mnist_test.jsonl.bz2 and coco_object.jsonl.bz2, each of them optional but the
first two only together. A line of the digits has "embeddings" (the log-softmax of ten classes), "inferences",
"labels" and "resource_uri"; a line of the objects "detection" (with "embedding", "category_name", "id"), "label" (with
"category_name", or null) and "input_uri".

The labels of what is taken as production are kept back, and tell at the end how good the lists are.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import itertools
import json
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vermilion import curation

DIGITS = [str(digit) for digit in range(10)]


@dataclass
class Recording:
    """Records in columns, with what is kept back of them."""

    uris: list[str] = field(default_factory=list)
    vectors: list[list[float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    targets: list[str | None] = field(default_factory=list)

    def add(self, uri: str, vector: list[float], said: str, label: str | None, target: str | None = None) -> None:
        self.uris.append(uri)
        self.vectors.append(vector)
        self.said.append(said)
        self.labels.append(label)
        self.targets.append(target)

    def names(self) -> list[tuple[str, str | None]]:
        return list(zip(self.uris, self.targets))


def lines(path: Path, most: int | None) -> Iterator[dict[str, Any]]:
    with bz2.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, itertools.islice(file, most))


def digits(path: Path, most: int | None) -> Recording:
    found = Recording()
    for line in lines(path, most):
        found.add(line["resource_uri"], line["embeddings"], str(line["inferences"][0]), str(line["labels"][0]))
    return found


def objects(path: Path, most: int | None) -> tuple[Recording, Recording]:
    """Detections of every other photograph, and those of the rest; what was not detected has no vector."""
    parts = Recording(), Recording()
    numbers: dict[str, int] = {}
    for line in lines(path, most):
        found, label = line["detection"], line["label"]
        if found:
            number = numbers.setdefault(line["input_uri"], len(numbers))
            # What is no object at all is a class of its own.
            name = label["category_name"] if label else "nothing"
            parts[number % 2].add(line["input_uri"], found["embedding"], found["category_name"], name, found["id"])
    return parts


def plant(labels: list[str | None], share: float, seed: int) -> list[int]:
    """Changes a share of the labels to others of them, and answers which."""
    draw = random.Random(seed)
    classes = sorted({one for one in labels if one is not None})
    rows = sorted(draw.sample(range(len(labels)), round(len(labels) * share)))
    for row in rows:
        labels[row] = draw.choice([one for one in classes if one != labels[row]])
    return rows


def look(
    cur: curation.Curation, name: str, training: Recording, production: Recording, softmax: bool, out: Path
) -> dict[str, Any]:
    """Logs both, asks for the lists, and compares them with what was kept back."""
    model = {"model": name, "layer": "log softmax" if softmax else "object", "recorded": 2022}
    truth = list(training.labels)
    planted = plant(training.labels, 0.01, 7)
    for context, part, labels in (
        ("training", training, training.labels),
        ("production", production, None),
    ):
        vectors = np.array(part.vectors, np.float32)
        more = {"label_classes": labels, "targets": part.targets, "inference_classes": part.said}
        if softmax:
            more["logits"] = vectors
        start = cur.training if context == "training" else cur.production
        with start(model, dataset=f"{name} {context}", class_names=DIGITS if softmax else None) as session:
            session.log(vectors, part.uris, **more)
    space = cur.space(model)
    space.wait()
    wrong = {key for key, said, label in zip(production.names(), production.said, production.labels) if said != label}
    ids = names_of(cur, space)
    first = min(100, len(production.uris))
    told: dict[str, Any] = {"records": len(training.uris) + len(production.uris), "mistakes": len(wrong) / len(production.uris)}
    for objective in ("retrain", "verify", "random"):
        listed = space.recommend(first, objective=objective, explain=False)
        told[objective] = sum(ids[one.id] in wrong for one in listed) / max(len(listed), 1)
        told[f"{objective}_covers"] = listed.coverage
    issues = space.label_issues(len(planted), wait=600)
    rows = {key: row for row, key in enumerate(training.names())}
    found = [(rows[ids[one.id]], one.suggested_class) for one in issues]
    right = [(row, suggested) for row, suggested in found if row in set(planted)]
    told["planted"], told["found"] = len(planted), len(right)
    told["suggested"] = sum(truth[row] == suggested for row, suggested in right) / max(len(right), 1)
    space.report(out / f"{name}.html")
    return told


def names_of(cur: curation.Curation, space: curation.Space) -> dict[str, tuple[str, str | None]]:
    """The input and the target of each record: a space is a collection that any client reads."""
    import vermilion

    client = vermilion.HttpClient(cur.url)
    collection = client.get_collection(space.about().space, embedding_function=None)
    found = collection.get(include=["uris", "metadatas"])
    return {
        one: (uri, (metadata or {}).get("target"))
        for one, uri, metadata in zip(found["ids"], found["uris"], found["metadatas"])
    }


def show(name: str, told: dict[str, Any], out: Path) -> None:
    percent = {key: f"{value:.1%}" for key, value in told.items() if isinstance(value, float)}
    print(f"{name}: {told['records']:,} records; the model is wrong on {percent['mistakes']} of production")
    print(
        f"  of the first 100 it is wrong on {percent['verify']} (most trouble first), {percent['retrain']} (to retrain on), "
        f"{percent['random']} (drawn evenly)"
    )
    print(f"  the first 100 to retrain on cover {percent['retrain_covers']} of what it is uncertain about")
    print(
        f"  {told['planted']} labels were changed: {told['found']} of them are among the first {told['planted']} label issues, "
        f"{percent['suggested']} of these with the right class"
    )
    print(f"  {out / name}.html")


@contextlib.contextmanager
def server(program: str) -> Iterator[str]:
    """A server in a folder of its own, gone with what is in it at the end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "serve", "--path", folder, "--port", "0", "--log-level", "warn"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            if found is None:
                raise SystemExit(f"{program} did not say where it listens")
            yield found.group(0)
        finally:
            process.terminate()
            process.wait()


def main(arguments: list[str] | None = None) -> dict[str, dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the recordings are")
    parser.add_argument("--url", help="a running server; one is started without it")
    parser.add_argument("--program", default="vermilion", help="the program that is started")
    parser.add_argument("--most", type=int, help="lines of each recording at most")
    parser.add_argument("--out", type=Path, default=Path("."), help="where reports are written")
    asked = parser.parse_args(arguments)
    found: dict[str, tuple[Recording, Recording, bool]] = {}
    if (asked.folder / "mnist_train.jsonl.bz2").exists():
        parts = (digits(asked.folder / f"mnist_{part}.jsonl.bz2", asked.most) for part in ("train", "test"))
        found["digits"] = (*parts, True)  # type: ignore[assignment]
    if (asked.folder / "coco_object.jsonl.bz2").exists():
        found["objects"] = (*objects(asked.folder / "coco_object.jsonl.bz2", asked.most), False)
    if not found:
        parser.error(f"{asked.folder} holds no recordings: see --help")
    told = {}
    with contextlib.nullcontext(asked.url) if asked.url else server(asked.program) as url:
        cur = curation.connect(url)
        for name, (training, production, softmax) in found.items():
            told[name] = look(cur, name, training, production, softmax, asked.out)
            show(name, told[name], asked.out)
    return told


if __name__ == "__main__":
    main()
