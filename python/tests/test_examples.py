"""The examples run as they are: on recordings that are made here, and on those beside the repository."""

import bz2
import gzip
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Server

RECORDINGS = Path(os.environ.get("RECORDINGS", ROOT / "../shared/data/chroma2022"))


def load(name, monkeypatch):
    found = importlib.util.spec_from_file_location(name, ROOT / f"examples/curation/{name}.py")
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, name, module)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def example(monkeypatch, tmp_path):
    monkeypatch.setenv("VERMILION_SESSIONS", str(tmp_path / "sessions"))
    return load("recordings", monkeypatch)


@pytest.fixture
def rounds(example, monkeypatch):
    """The one that retrains; it begins servers as the other does."""
    return load("digits", monkeypatch)


def write(path, rows):
    with bz2.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def digits(seed, rows):
    """Log-softmax of a model that mistakes some sevens for ones."""
    draw = np.random.default_rng(seed)
    for row in range(rows):
        label = int(draw.integers(10))
        scores = draw.normal(0, 0.5, 10)
        scores[label] += 6
        if label == 7 and row % 3 == 0:
            scores[1] += 6.5
        softmax = scores - np.log(np.exp(scores).sum())
        yield {
            "embeddings": softmax.tolist(),
            "inferences": [int(softmax.argmax())],
            "labels": [label],
            "metadata": {"quality": 80},
            "resource_uri": f"images-{seed}-{row}",
        }


def objects(rows):
    draw = np.random.default_rng(5)
    names = ["elephant", "zebra", "cup"]
    for row in range(rows):
        number = row % 3
        vector = draw.normal(0, 0.4, 6)
        vector[number] += 3
        detection = {"embedding": vector.tolist(), "category_name": names[number], "id": f"d{row}"}
        label = {"category_name": names[number]} if row % 10 else None
        yield {"detection": detection if row % 9 else None, "label": label, "input_uri": f"photo-{row // 2}"}


def test_recordings_are_told_as_they_were_made(example, server, tmp_path, capsys):
    write(tmp_path / "mnist_train.jsonl.bz2", digits(1, 600))
    write(tmp_path / "mnist_test.jsonl.bz2", digits(2, 400))
    write(tmp_path / "coco_object.jsonl.bz2", objects(300))
    url = f"http://{server.host}:{server.port}"
    told = example.main([str(tmp_path), "--url", url, "--out", str(tmp_path)])
    found = told["digits"]
    assert found["records"] == 1000
    assert 0 < found["mistakes"] < 0.1
    # Nearly all of the mistakes are among the first hundred of four hundred.
    assert found["verify"] * 100 >= 0.9 * found["mistakes"] * 400
    assert (found["planted"], found["suggested"]) == (6, 1.0) and found["found"] >= 5
    assert told["objects"]["records"] == 266
    for name in ("digits", "objects"):
        assert (tmp_path / f"{name}.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    said = capsys.readouterr().out
    assert said.startswith("digits: 1,000 records") and "objects: 266 records" in said


def test_a_folder_without_recordings_is_refused(example, tmp_path, capsys):
    with pytest.raises(SystemExit):
        example.main([str(tmp_path)])
    assert "holds no recordings" in capsys.readouterr().err


def images(folder):
    """Ten classes of images of 8 x 8, in the files of MNIST's test images."""
    draw = np.random.default_rng(3)
    labels = draw.integers(10, size=5600)
    pixels = draw.uniform(0, 255, (10, 64))[labels] + draw.normal(0, 110, (len(labels), 64))
    for name, head, numbers in (("images-idx3", 16, pixels), ("labels-idx1", 8, labels)):
        with gzip.open(folder / f"mnist-t10k-{name}-ubyte.gz", "wb") as file:
            file.write(bytes(head) + np.clip(numbers, 0, 255).astype(np.uint8).tobytes())


def test_a_model_learns_more_from_what_is_recommended_than_from_what_is_drawn(rounds, server, tmp_path, capsys):
    images(tmp_path)
    url = f"http://{server.host}:{server.port}"
    told = rounds.main([str(tmp_path), "--url", url, "--rounds", "2", "--out", str(tmp_path)])
    assert [labels for labels, _, _ in told] == [30, 60]
    assert all(accuracy > beside for _, accuracy, beside in told), told
    assert "as recommended" in capsys.readouterr().out
    report = (tmp_path / "digits-rounds.html").read_text(encoding="utf-8")
    assert "round 2: 30 more labels" in report and report.count("succeeded") >= 2


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="there are no recordings beside the repository")
def test_the_recordings_of_2022(example, tmp_path):
    # The other recordings have the same names.
    server = Server(tmp_path / "data")
    url = f"http://{server.host}:{server.port}"
    told = example.main([str(RECORDINGS), "--url", url, "--most", "1500", "--out", str(tmp_path)])
    assert server.stop() == 0
    assert told["digits"]["verify"] > 5 * told["digits"]["mistakes"]
    assert told["digits"]["found"] >= 0.8 * told["digits"]["planted"]
    assert told["objects"]["verify"] > told["objects"]["random"] - 0.05
