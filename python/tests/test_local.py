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


@pytest.fixture
def made_segments(monkeypatch):
    """The sizes of the pieces of memory that clients of this process make from now on."""
    sizes, make = [], local.Segment

    def watched(length):
        sizes.append(length)
        return make(length)

    pytest.importorskip("pyarrow")
    monkeypatch.setattr(local, "Segment", watched)
    return sizes


@memory
def test_memory_serves_many_batches_and_larger_ones_get_more(server, made_segments):
    with server.client(transport="memory") as client:
        made = client.get_or_create_collection("many", embedding_function=None)
        for number in range(20):
            made.add(names(1000 + number % 3, 10_000 * number), block(1000 + number % 3, seed=number))
        assert len(made_segments) == 1
        made.add(names(3000, 300_000), block(3000, seed=50))
        made.add(names(3000, 310_000), block(3000, seed=51))
        assert len(made_segments) == 2
        # What is far too large is not held for little.
        made.add(names(100, 320_000), block(100, seed=52))
        assert len(made_segments) == 3 and client._transport._idle[-1].held <= 256 << 10
        for start, rows, seed in ((0, 1000, 0), (190_000, 1001, 19), (300_000, 3000, 50), (320_000, 100, 52)):
            got = made.get(ids=names(rows, start), include=["embeddings"])
            assert (got["embeddings"] == block(rows, seed=seed)).all()
        # A refused batch leaves the memory as good as before.
        with pytest.raises(errors.InvalidArgumentError, match="dimension"):
            made.add(names(100, 330_000), block(100, 8))
        made.add(names(100, 330_000), block(100, seed=53))
        assert made.count() == 20 * 1000 + 19 + 6000 + 200 and len(made_segments) == 3
        client.delete_collection("many")


@memory
def test_connections_have_memory_of_their_own_and_idle_ones_not_much(server, made_segments, monkeypatch):
    with server.client(transport="memory") as client:
        made = client.get_or_create_collection("two", embedding_function=None)
        together = threading.Barrier(2)

        def work(number):
            for batch in range(10):
                together.wait()
                start = (number * 10 + batch) * 1000
                made.add(names(1000, start), block(1000, seed=start))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made.count() == 20_000 and 1 <= len(made_segments) <= 3
        for start in range(0, 20_000, 1000):
            got = made.get(ids=names(1000, start), include=["embeddings"])
            assert (got["embeddings"] == block(1000, seed=start)).all()
        held = [one.held for one in client._transport._idle if one.held]
        monkeypatch.setattr(http, "_HELD_MAX", max(held))
        first, second = (client._transport._connection()[0] for _ in range(2))
        for one in (first, second):
            one.put(streams.Stream({"ids": names(1000)}, block(1000)))
            client._transport._keep(one, None)
        assert [one.held > 0 for one in client._transport._idle if one in (first, second)] == [True]
        client.delete_collection("two")


@memory
def test_without_memory_records_go_through_the_socket_unless_it_was_asked_for(server, monkeypatch):
    pytest.importorskip("pyarrow")

    def none(*_):
        raise OSError("no memory is left")

    monkeypatch.setattr(os, "memfd_create", none)
    with server.client() as client, server.client(transport="memory") as only:
        made = client.get_or_create_collection("none", embedding_function=None)
        made.add(names(1000), block(1000))
        assert made.count() == 1000
        with pytest.raises(OSError, match="no memory is left"):
            only.get_collection("none", embedding_function=None).add(names(1000, 1000), block(1000))
        assert made.count() == 1000
        client.delete_collection("none")


@memory
def test_memory_that_changes_while_it_is_read_breaks_nothing(server):
    pytest.importorskip("pyarrow")
    with server.client(transport="memory") as client:
        made = client.get_or_create_collection("changing", embedding_function=None)
        tenant, database = client.tenant, client.database
        path = f"/api/v2/tenants/{tenant}/databases/{database}/collections/{made.id}/upsert"
        stream = streams.Stream({"ids": names(2000), "documents": ["é" * 20] * 2000}, block(2000, 64))
        connection = client._transport._connection()[0]
        connection.put(stream)
        room, sound = connection._segment.map, bytes(connection._segment.map[: stream.length])
        ended, random = threading.Event(), np.random.default_rng(7)

        def scribble():
            while not ended.is_set():
                at = int(random.integers(0, stream.length - 64))
                room[at : at + 64] = random.bytes(64)
                room[at : at + 64] = sound[at : at + 64]

        thread = threading.Thread(target=scribble)
        thread.start()
        statuses = set()
        try:
            form = {**client._transport.headers, "Content-Type": streams.MEDIA_TYPE}
            for _ in range(200):
                answer = connection.exchange("POST", path, None, form, stream.length)
                statuses.add(answer.status)
                if answer.closes:
                    connection.close()
                    connection = client._transport._connection()[0]
                    connection.put(stream)
                    room = connection._segment.map
        finally:
            ended.set()
            thread.join()
        assert statuses <= {200, 400} and 200 in statuses, statuses
        # Whatever was stored is sound, and the server goes on.
        got = made.get(include=["embeddings", "documents"])
        assert np.isfinite(got["embeddings"]).all() and all(isinstance(one, str) for one in got["documents"])
        made.upsert(names(2000), block(2000, 64), documents=["after"] * 2000)
        got = made.get(ids=names(2000), include=["embeddings", "documents"])
        assert (got["embeddings"] == block(2000, 64)).all() and set(got["documents"]) == {"after"}
        connection.close()
        client.delete_collection("changing")


@memory
def test_a_forked_process_has_connections_and_memory_of_its_own(server):
    pytest.importorskip("pyarrow")
    program = """if True:
        import os, sys, numpy as np, vermilion
        client = vermilion.HttpClient("127.0.0.1", int(sys.argv[1]), transport="memory")
        made = client.get_or_create_collection("forked", embedding_function=None)
        records = np.ones((2000, 64), np.float32)
        made.add([f"first-{row}" for row in range(2000)], records)
        child = os.fork()
        for batch in range(10):
            name, value = ("parent", 2) if child else ("child", 3)
            made.add([f"{name}-{batch}-{row}" for row in range(2000)], records * value)
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert made.count() == 42000
        got = made.get(include=["embeddings"])
        values = {"first": 1, "parent": 2, "child": 3}
        for id, vector in zip(got["ids"], got["embeddings"]):
            assert (vector == values[id.split("-")[0]]).all(), id
        client.delete_collection("forked")
    """
    done = subprocess.run([sys.executable, "-c", program, str(server.port)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


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
            # One that only goes away leaves no more behind.
            with running.client(transport="memory") as other:
                other.get_collection("records").add(names(4000), block(4000))
                assert leftovers(running.process) == 1
            while leftovers(running.process) and time.monotonic() < end:
                time.sleep(0.02)
            assert leftovers(running.process) == 0
    finally:
        assert running.stop() == 0


@memory
def test_a_client_hands_memory_to_the_server_that_comes_after_a_killed_one(tmp_path, made_segments):
    running = Server(tmp_path)
    try:
        client = running.client(transport="memory")
        made = client.create_collection("records", embedding_function=None)
        made.add(names(1000), block(1000))
        running.process.kill()
        running.process.wait()
        with pytest.raises(errors.TransportError):
            made.add(names(1000, 1000), block(1000, seed=2))
        running = Server(tmp_path, port=running.port)
        made.add(names(1000, 2000), block(1000, seed=3))
        got = made.get(ids=names(1000, 2000), include=["embeddings"])
        assert (got["embeddings"] == block(1000, seed=3)).all() and made.count() == 2000
        assert len(made_segments) == 2
        client.close()
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
