"""What labels are worth: a model of digits that has not met two of them, retrained on what curation says to label next.

    python examples/curation/digits.py FOLDER            # starts a server of its own
    python examples/curation/digits.py FOLDER --url http://localhost:8000

FOLDER holds the test images of MNIST: mnist-t10k-images-idx3-ubyte.gz and mnist-t10k-labels-idx1-ubyte.gz.

Training begins with fifty digits without two of the classes; production is three thousand of all. In each round thirty of
production are labelled, moved to the training data and trained on under a lease. The same model beside it gets thirty that
are drawn evenly.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recordings import server

from vermilion import curation

NEW = (4, 7)
START, POOL, TESTED = 50, 3000, 2000
NUMBERS = 40


@dataclass
class Digits:
    """Vectors of images with what they show."""

    vectors: np.ndarray
    labels: np.ndarray

    def of(self, rows: Any) -> Digits:
        return Digits(self.vectors[rows], self.labels[rows])


def read(folder: Path) -> Digits:
    def numbers(name: str, head: int) -> np.ndarray:
        with gzip.open(folder / name) as file:
            return np.frombuffer(file.read()[head:], np.uint8)

    labels = numbers("mnist-t10k-labels-idx1-ubyte.gz", 8).astype(int)
    images = numbers("mnist-t10k-images-idx3-ubyte.gz", 16).reshape(len(labels), -1) / np.float32(255)
    images = images - images.mean(0)
    directions = np.linalg.eigh(images.T @ images)[1][:, -NUMBERS:]
    return Digits((images @ directions).astype(np.float32), labels)


class Model:
    """Logistic regression, by gradient descent."""

    def __init__(self, known: Digits) -> None:
        rows = self._with_one(known.vectors)
        wanted = np.eye(10, dtype=np.float32)[known.labels]
        self.weights = np.zeros((rows.shape[1], 10), np.float32)
        for _ in range(500):
            wrong = self._softmax(rows) - wanted
            self.weights -= 0.3 * (rows.T @ wrong / len(rows) + 0.003 * self.weights)

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        return self._softmax(self._with_one(vectors))

    def accuracy(self, tested: Digits) -> float:
        return float((self.probabilities(tested.vectors).argmax(1) == tested.labels).mean())

    def _softmax(self, rows: np.ndarray) -> np.ndarray:
        raised = np.exp(np.minimum(rows @ self.weights, 50))
        return raised / raised.sum(1, keepdims=True)

    @staticmethod
    def _with_one(vectors: np.ndarray) -> np.ndarray:
        return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])


class Rounds:
    """A model that is retrained on what curation recommends."""

    def __init__(self, cur: curation.Curation, known: Digits, pool: Digits, seed: int) -> None:
        self.pool, self.known = pool, known
        self.set = {"model": "digits", "vectors": f"first {NUMBERS} principal directions", "seed": seed}
        self.uris = [f"pool/{row}" for row in range(len(pool.labels))]
        with cur.training(self.set, dataset="start") as session:
            uris = [f"start/{row}" for row in range(len(known.labels))]
            session.log(known.vectors, uris, label_classes=known.labels)
        self.cur, self.space = cur, cur.space(self.set)
        self.model = Model(known)
        self.report_production()

    def report_production(self) -> None:
        """Logs what the model says of production as it is now; records that were labelled stay so."""
        said = self.model.probabilities(self.pool.vectors)
        with self.cur.production(self.set, class_names=[str(digit) for digit in range(10)]) as session:
            session.log(self.pool.vectors, self.uris, probabilities=said)

    def go_on(self, number: int, labels: int, tested: Digits) -> float:
        """Labels what is recommended and trains on it; the accuracy after that."""
        self.space.wait()
        listed = self.space.recommend(labels)
        rows = [int(one.input_uri.partition("/")[2]) for one in listed]
        ids = [one.id for one in listed]
        self.space.label(ids, [str(self.pool.labels[row]) for row in rows], promote=f"round {number}")
        more = self.pool.of(rows)
        self.known = Digits(np.vstack([self.known.vectors, more.vectors]), np.append(self.known.labels, more.labels))
        self.space.retrain(f"round {number}: {len(ids)} more labels")
        lease = self.space.claim("example")
        assert lease is not None
        with lease:
            self.model = Model(self.known)
            accuracy = self.model.accuracy(tested)
            lease.complete(metrics={"accuracy": accuracy}, consumed_ids=ids)
        self.report_production()
        return accuracy


def drawn(known: Digits, pool: Digits, labels: int, seed: int) -> Digits:
    """The same with labels of records that are drawn evenly."""
    rows = np.random.default_rng(seed).permutation(len(pool.labels))[:labels]
    more = pool.of(rows)
    return Digits(np.vstack([known.vectors, more.vectors]), np.append(known.labels, more.labels))


def main(arguments: list[str] | None = None) -> list[tuple[int, float, float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the images are")
    parser.add_argument("--url", help="a running server; one is started without it")
    parser.add_argument("--program", default="vermilion", help="the program that is started")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--labels", type=int, default=30, help="labels of each round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("."), help="where the report is written")
    asked = parser.parse_args(arguments)
    digits = read(asked.folder)
    order = np.random.default_rng(asked.seed).permutation(len(digits.labels))
    tested, pool = digits.of(order[:TESTED]), digits.of(order[TESTED : TESTED + POOL])
    rest = digits.of(order[TESTED + POOL :])
    known = rest.of(np.flatnonzero(~np.isin(rest.labels, NEW))[:START])
    told = []
    with contextlib.nullcontext(asked.url) if asked.url else server(asked.program) as url:
        rounds = Rounds(curation.connect(url), known, pool, asked.seed)
        print(f"{START} labels without {NEW}: {rounds.model.accuracy(tested):.1%} of all digits are recognised")
        for number in range(1, asked.rounds + 1):
            accuracy = rounds.go_on(number, asked.labels, tested)
            labels = number * asked.labels
            # By chance, so the mean of some.
            beside = [Model(drawn(known, pool, labels, seed)).accuracy(tested) for seed in range(5)]
            told.append((labels, accuracy, float(np.mean(beside))))
            print(f"{labels:4} labels more: {accuracy:.1%} as recommended, {told[-1][2]:.1%} drawn evenly")
        rounds.space.report(asked.out / "digits-rounds.html")
        print(asked.out / "digits-rounds.html")
    return told


if __name__ == "__main__":
    main()
