"""Servers on the same machine: their socket, shared memory, and what is left when either side is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import vermilion
from conftest import Server
from vermilion import errors, http, local, streams

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sockets are found on Linux")
memory = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there is no sealed memory")


def block(rows, dimension=256, seed=1):
    return np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)


def names(rows, start=0):
    return [f"r{row}" for row in range(start, start + rows)]


@memory
def test_the_fastest_way_is_taken_and_others_can_be_asked_for(server):
    pytest.importorskip("pyarrow")
    records = block(600)
    answers = []
    for way, kind in ((None, "memory"), ("memory", "memory"), ("socket", "socket"), ("http", "http"), ("json", "http")):
        with server.client(transport=way) as client:
            assert client.transport.startswith(kind + ": "), client.transport
            assert (f":{server.port}" in client.transport) and (way is None or "as asked" in client.transport)
            assert ("as json" in client.transport) == (way == "json")
            made = client.get_or_create_collection("ways", embedding_function=None)
            made.add(names(600), records, [{"n": row} for row in range(600)], [f"text {row}" for row in range(600)])
            made.update(names(3), records[:3], documents=["other", "é" * 10, "third"])
            got = made.get(include=["embeddings", "documents", "metadatas"])
            assert (got["embeddings"] == records).all()
            near = made.query(query_embeddings=records[:3], n_results=2)
            assert [one[0] for one in near["ids"]] == names(3)
            answers.append(json.dumps([got["ids"], got["documents"], got["metadatas"], near["ids"], near["distances"]]))
            with pytest.raises(errors.InvalidArgumentError):
                made.add(names(600), np.full((600, 256), np.nan, np.float32))
            with pytest.raises(errors.InvalidArgumentError, match="dimension"):
                made.query(query_embeddings=[1, 2])
            client.delete_collection("ways")
    assert len(set(answers)) == 1
    with pytest.raises(ValueError, match="no way to a server: memory"):
        server.client(transport="pigeon")


@pytest.mark.parametrize(("way", "packs"), [("http", True), ("json", False)])
def test_queries_go_packed_to_a_port_that_takes_them(server, monkeypatch, way, packs):
    bodies, exchange = [], http._Remote.exchange

    def watched(self, method, path, body, headers):
        bodies.append((path, body))
        return exchange(self, method, path, body, headers)

    monkeypatch.setattr(http._Remote, "exchange", watched)
    with server.client(transport=way) as client:
        made = client.get_or_create_collection("packed", embedding_function=None)
        made.add(["a", "b"], [[1.0, 0.0], [0.0, 1.0]])
        assert made.query(query_embeddings=[[0.1, 0.9]], n_results=1)["ids"] == [["b"]]
        client.delete_collection("packed")
    (asked,) = [json.loads(body) for path, body in bodies if path.endswith("/query")]
    assert ("packed_query_embeddings" in asked) == packs
    assert len(asked["query_embeddings"]) == (0 if packs else 1)


def test_without_a_socket_the_port_serves(tmp_path):
    running = Server(tmp_path, "--socket", "")
    try:
        with running.client() as client:
            assert client.transport.startswith("http: ") and "no socket" in client.transport
            assert client.count_collections() == 0
        for way in ("socket", "memory"):
            with pytest.raises(errors.TransportError, match=f"cannot be reached by its {way}"):
                running.client(transport=way)
    finally:
        assert running.stop() == 0


def test_sockets_of_other_machines_and_other_servers_are_not_used(tmp_path, monkeypatch):
    flags = ("--socket", "vermilion.sock")
    running, other = Server(tmp_path / "one", *flags), Server(tmp_path / "two", *flags)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(local, "_BOOT_ID", str(tmp_path / "boot_id"))
            (tmp_path / "boot_id").write_text("another\n")
            with running.client() as client:
                assert client.transport.startswith("http: ") and "another machine" in client.transport
        # Another server in its place, as where a folder means something else in a container.
        os.rename(tmp_path / "two/vermilion.sock", tmp_path / "one/vermilion.sock")
        with running.client() as client:
            assert client.transport.startswith("http: ") and "another server" in client.transport
            client.create_collection("here", embedding_function=None)
        assert other.client(transport="http").count_collections() == 0
    finally:
        assert (running.stop(), other.stop()) == (0, 0)


def test_a_client_goes_on_when_its_server_comes_back_elsewhere(tmp_path):
    flags = ("--socket", "vermilion.sock")
    running = Server(tmp_path, *flags)
    client = running.client()
    kind = client.transport.split(":")[0]
    assert kind in ("memory", "socket")
    made = client.create_collection("records", embedding_function=None)
    made.add(names(5), block(5))
    running.process.kill()
    running.process.wait()
    with pytest.raises(errors.TransportError):
        made.count()
    # The killed one left its socket; the next one takes its place.
    assert (tmp_path / "vermilion.sock").is_socket()
    running = Server(tmp_path, *flags, port=running.port)
    try:
        assert made.count() == 5
        assert client.transport.split(":")[0] == kind
        # What a client must not do is to go on with a server that is no longer at the port.
        assert running.stop() == 0
        moved = Server(tmp_path, *flags)
        try:
            with pytest.raises(errors.TransportError):
                made.count()
        finally:
            assert moved.stop() == 0
        assert not (tmp_path / "vermilion.sock").exists()
    finally:
        client.close()


def test_threads_share_a_client_over_the_socket(server):
    with server.client() as client:
        made = client.get_or_create_collection("threads", embedding_function=None)
        failures = []

        def work(number):
            try:
                for _ in range(10):
                    made.upsert(names(70, number * 70), block(70, 64, number))
                    found = made.query(query_embeddings=block(70, 64, number)[:1], n_results=1)
                    assert found["ids"][0] == [f"r{number * 70}"]
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        assert made.count() == 560
        client.delete_collection("threads")


WRITER = """if True:
    import sys, numpy as np, vermilion
    client = vermilion.HttpClient("127.0.0.1", int(sys.argv[1]), transport="memory")
    collection = client.get_or_create_collection("records", embedding_function=None)
    records = np.ones((4000, 256), np.float32)
    print("ready", flush=True)
    for batch in range(int(sys.argv[2]), 100_000):
        collection.add([f"{batch}-{row}" for row in range(4000)], records * batch)
        print(batch, flush=True)
"""


def leftovers(process):
    """Mapped memory and descriptors of memory that the server still has."""
    mapped = open(f"/proc/{process.pid}/maps").read().count("memfd:vermilion")
    folder, held = f"/proc/{process.pid}/fd", 0
    for one in os.listdir(folder):
        try:
            held += "memfd:vermilion" in os.readlink(f"{folder}/{one}")
        except OSError:
            pass
    return mapped + held


def whole_batches(found):
    """How many records each batch has."""
    counts = {}
    for one in found:
        batch = int(one.split("-")[0])
        counts[batch] = counts.get(batch, 0) + 1
    return counts


@memory
def test_killed_clients_leave_no_memory_no_lock_and_no_part_of_a_batch(tmp_path):
    pytest.importorskip("pyarrow")
    running = Server(tmp_path)
    acknowledged, random = set(), np.random.default_rng()
    try:
        for number in range(6):
            arguments = [sys.executable, "-c", WRITER, str(running.port), str(number * 1000)]
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            assert process.stdout.readline() == "ready\n"
            assert process.stdout.readline() == f"{number * 1000}\n"
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().split("\n")[:-1]
            process.wait(timeout=20)
            acknowledged |= {number * 1000, *map(int, lines)}
        with running.client() as client:
            made = client.get_collection("records")
            end = time.monotonic() + 20
            while leftovers(running.process) and time.monotonic() < end:
                time.sleep(0.02)
            assert leftovers(running.process) == 0
            counts = whole_batches(made.get(include=[])["ids"])
            assert acknowledged <= set(counts)
            assert set(counts.values()) == {4000}
            # Nobody holds anything: the next write is taken as any other.
            made.add(["last"], np.zeros((1, 256), np.float32))
    finally:
        assert running.stop() == 0


@memory
def test_killed_servers_leave_no_part_of_a_batch_and_clients_are_told(tmp_path):
    pytest.importorskip("pyarrow")
    acknowledged, random = set(), np.random.default_rng()
    for number in range(3):
        running = Server(tmp_path)
        arguments = [sys.executable, "-c", WRITER, str(running.port), str(number * 1000)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == f"{number * 1000}\n"
        time.sleep(random.uniform(0, 0.05))
        running.process.kill()
        running.process.wait()
        lines, told = process.communicate(timeout=30)
        acknowledged |= {number * 1000, *map(int, lines.split())}
        assert process.returncode == 1 and "TransportError" in told
    running = Server(tmp_path)
    try:
        with running.client() as client:
            counts = whole_batches(client.get_collection("records").get(include=[])["ids"])
            assert acknowledged <= set(counts)
            assert set(counts.values()) == {4000}
    finally:
        assert running.stop() == 0


@pytest.mark.parametrize("headers", [{}, {"Accept": f"{streams.MEDIA_TYPE}, application/json;q=0.5"}])
def test_answers_that_come_in_parts_are_put_together_and_cut_ones_are_errors(tmp_path, headers):
    path = str(tmp_path / "s.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()

    def answer(*parts):
        taken, _ = listener.accept()
        taken.recv(65536)
        for part in parts:
            taken.sendall(part)
            time.sleep(0.02)
        taken.close()

    def ask(*parts):
        thread = threading.Thread(target=answer, args=parts)
        thread.start()
        connection = local.LocalConnection(path, 5)
        try:
            return connection.exchange("GET", "/x", None, headers)
        finally:
            connection.close()
            thread.join()

    head = b"HTTP/1.1 201 Created\r\nContent-Type: Application/JSON; charset=utf-8\r\nconte"
    got = ask(head, b"nt-length: 10\r\n\r", b"\n01", b"234", b"56789")
    assert got == (201, "application/json", b"0123456789", False)
    assert ask(b"HTTP/1.1 204 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").closes
    for cut in ((), (head,), (head, b"nt-length: 10\r\n\r\n01"), (b"HTTP/1.1 200 OK\r\n\r\nx",)):
        with pytest.raises((OSError, Exception), match="closed|IncompleteRead|without its length"):
            ask(*cut)
    connection = None
    with pytest.raises(ValueError, match="line break"):
        listener_thread = threading.Thread(target=lambda: listener.accept()[0].close())
        listener_thread.start()
        connection = local.LocalConnection(path, 5)
        connection.exchange("GET", "/x", None, {"X": "a\r\nY: b"})
    connection.close()
    listener_thread.join()
    listener.close()
