"""Moving over: real Chroma folders and servers, and what is here after `vermilion import-chroma`."""

import os
import socket
import subprocess
import sys
import time

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from conftest import ROOT, Server, binary

SPACES = {"small": ("l2", 50, 4), "big": ("cosine", 2500, 16), "inner": ("ip", 1200, 8), "empty": ("l2", 0, 3)}


def settings():
    return Settings(anonymized_telemetry=False)


def fill(client):
    """Collections below and beyond what Chroma keeps in its queue, with changes after the index was written."""
    random = np.random.default_rng(7)
    for name, (space, count, dimension) in SPACES.items():
        collection = client.create_collection(
            name,
            configuration={"hnsw": {"space": space}},
            metadata={"topic": name, "n": 3, "f": 1.5, "b": True},
            embedding_function=None,
        )
        vectors = random.normal(size=(max(count, 1), dimension)).astype(np.float32)
        for start in range(0, count, 500):
            rows = range(start, min(count, start + 500))
            collection.add(
                ids=[f"r{k}" for k in rows],
                embeddings=vectors[rows.start : rows.stop],
                documents=[f"document {k}" for k in rows],
                metadatas=[{"k": k, "x": k / 2, "s": f"s{k % 7}", "even": k % 2 == 0, "tags": ["a", f"t{k % 3}"]} for k in rows],
                uris=[f"file:///{k}" for k in rows],
            )
        if count:
            collection.delete(ids=[f"r{k}" for k in range(5, 15)])
            collection.update(ids=["r20", "r21"], embeddings=vectors[:2] * 2, documents=["new", "newer"])
            collection.update(ids=["r22"], metadatas=[{"k": -1, "extra": "more"}])
            collection.add(ids=["plain"], embeddings=vectors[:1])
            collection.upsert(ids=["r5"], embeddings=vectors[3:4], documents=["back"])
    legacy = client.create_collection("legacy", metadata={"hnsw:space": "cosine", "hnsw:M": 24}, embedding_function=None)
    legacy.add(ids=["a"], embeddings=[[1.0, 2.0]])


def contents(client):
    found = {}
    for one in client.list_collections():
        got = one.get(include=["embeddings", "documents", "metadatas", "uris"])
        rows = zip(got["ids"], got["embeddings"], got["documents"], got["metadatas"], got["uris"])
        found[one.name] = (
            one.metadata,
            one.configuration_json["hnsw"]["space"],
            {row[0]: row[2:] for row in rows},
            dict(zip(got["ids"], np.asarray(got["embeddings"], dtype=np.float32))),
        )
    return found


def check(found, expected):
    """Chroma divides vectors of cosine collections by their lengths and multiplies again: the last bit may differ."""
    assert found.keys() == expected.keys()
    for name, (*rest, vectors) in expected.items():
        assert found[name][:-1] == tuple(rest)
        ours = found[name][-1]
        assert ours.keys() == vectors.keys()
        for id, vector in vectors.items():
            exact = rest[1] != "cosine"
            assert np.array_equal(ours[id], vector) if exact else np.allclose(ours[id], vector, rtol=1e-6, atol=1e-7)


def import_chroma(*arguments, status=0):
    command = [binary(), "import-chroma", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def chroma(tmp_path_factory):
    """A folder that another process filled and left."""
    folder = tmp_path_factory.mktemp("chroma") / "data"
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'tests/compat')!r}); import chromadb, test_import_chroma as t; " \
        f"t.fill(chromadb.PersistentClient({str(folder)!r}, settings=t.settings()))"
    subprocess.run([sys.executable, "-c", script], check=True)
    return folder


@pytest.fixture(scope="module")
def expected(chroma, tmp_path_factory):
    """What Chroma itself answers, from a copy, since opening a folder changes it."""
    copy = tmp_path_factory.mktemp("copy") / "data"
    subprocess.run(["cp", "-r", str(chroma), str(copy)], check=True)
    return contents(chromadb.PersistentClient(str(copy), settings=settings()))


def test_a_folder_is_imported_whole_and_a_second_run_adds_nothing(chroma, expected, tmp_path):
    said = import_chroma(chroma, "--path", tmp_path / "data")
    assert "5 collections with" in said and "are whole" in said
    again = import_chroma(chroma, "--path", tmp_path / "data")
    assert "collection big of default_tenant/default_database: 0 records imported, 2 492 there before" in again
    server = Server(tmp_path / "data")
    try:
        check(contents(server.client()), expected)
        nearest = server.client().get_collection("big", embedding_function=None).query(query_embeddings=[[1.0] * 16], n_results=3)
        assert len(nearest["ids"][0]) == 3
    finally:
        server.stop()


def test_a_record_that_differs_is_found_by_the_comparison(chroma, tmp_path):
    import_chroma(chroma, "--path", tmp_path / "data", "--collection", "small")
    server = Server(tmp_path / "data")
    server.client().get_collection("small", embedding_function=None).update(ids=["r20"], metadatas=[{"s": "other"}])
    server.stop()
    said = import_chroma(chroma, "--path", tmp_path / "data", "--collection", "small", status=1)
    assert "record `r20` differs" in said


def test_a_collection_that_compares_otherwise_is_left_as_it_is(chroma, tmp_path):
    server = Server(tmp_path / "data")
    server.client().create_collection("small", configuration={"hnsw": {"space": "ip"}}, embedding_function=None)
    server.stop()
    said = import_chroma(chroma, "--path", tmp_path / "data", "--collection", "small", status=1)
    assert "its distance function is ip; the source's is" in said
    server = Server(tmp_path / "data")
    try:
        assert server.client().get_collection("small", embedding_function=None).count() == 0
    finally:
        server.stop()


def test_what_is_no_source_is_refused_by_name(tmp_path):
    assert "no data folder of Chroma" in import_chroma(tmp_path, "--path", tmp_path / "data", status=1)
    (tmp_path / "chroma.sqlite3").write_text("nothing")
    assert "chroma.sqlite3 cannot be read" in import_chroma(tmp_path, "--path", tmp_path / "data", status=1)


def test_a_running_chroma_is_imported_into_a_running_server(chroma, expected, tmp_path):
    copy = tmp_path / "served"
    subprocess.run(["cp", "-r", str(chroma), str(copy)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [os.path.join(os.path.dirname(sys.executable), "chroma"), "run", "--path", str(copy), "--port", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                chromadb.HttpClient(port=port, settings=settings())
                break
            except Exception:
                time.sleep(0.1)
        server = Server(tmp_path / "data")
        import_chroma(f"http://127.0.0.1:{port}", "--url", f"http://{server.host}:{server.port}")
        check(contents(server.client()), expected)
        server.stop()
    finally:
        running.terminate()
        running.wait(timeout=20)
