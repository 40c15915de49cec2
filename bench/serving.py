"""What the benches of a running server share: records, servers in folders of their own, processor time.

Figures are made to be compared within one run: on a machine with other work, processor time and ratios mean more than
seconds.
"""
import base64
import gzip
import http.client
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVER = f"{ROOT}/target/release/vermilion serve --path {{path}} --port {{port}}"
PLACE = "/api/v2/tenants/default_tenant/databases/default_database/collections"
JSON = {"Content-Type": "application/json"}
TICKS = os.sysconf("SC_CLK_TCK")


class Records:
    """The records of a folder, repeated under new ids."""

    def __init__(self, folder, batch):
        self.vectors = np.load(folder / "base.npy").astype(np.float32)
        with gzip.open(folder / "docs.jsonl.gz", "rt") as lines:
            told = [json.loads(line) for line in lines]
        self.documents = [one["document"] for one in told]
        self.metadatas = [one["metadata"] for one in told]
        rows = min(len(self.vectors), len(told))
        self.batch = batch
        self.parts = [slice(low, low + batch) for low in range(0, rows - batch + 1, batch)]

    def ids(self, number):
        return [f"r{number * self.batch + row:09d}" for row in range(self.batch)]

    def part(self, number):
        return self.parts[number % len(self.parts)]

    def bodies(self):
        """For each part its body without the ids: what takes long to write, and is the same each time."""
        written = []
        for part in self.parts:
            vectors = [base64.b64encode(row.tobytes()).decode() for row in self.vectors[part]]
            rest = {"embeddings": vectors, "documents": self.documents[part], "metadatas": self.metadatas[part]}
            written.append(json.dumps(rest)[1:].encode())
        return written


class Server:
    """A server in a folder of its own, until it is left."""

    def __init__(self, command, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = shlex.split(command.format(path=folder, port=self.port))
        self.log = open(f"{folder}.log", "wb")
        # A group to end, but in this session: Linux shares processors between sessions first (autogroup), so that threads of
        # a server in another one would take turns with its clients whatever their priority.
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, process_group=0)
        end = time.time() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.time() > end:
                    raise SystemExit(f"the server did not start; it said: {open(f'{folder}.log').read()[-2000:]}")
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()

    def connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ask(self, method, path, body=None, may_fail=False):
        connection = self.connection()
        connection.request(method, path, None if body is None else json.dumps(body), JSON)
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status >= 300 and not may_fail:
            raise SystemExit(f"{method} {path}: {answer.status} {told[:300]}")
        return json.loads(told) if told else None

    def processor_seconds(self):
        """Of the server and its children."""
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            try:
                fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory_peak(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        return 0


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def send_batch(connection, collection, records, bodies, number):
    """Adds a batch over a kept-open connection; answers the seconds that took, the status and what was told."""
    ids = b'{"ids": ' + json.dumps(records.ids(number)).encode() + b", "
    body = bodies[number % len(bodies)]
    begun = time.perf_counter()
    connection.putrequest("POST", f"{PLACE}/{collection}/add")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(ids) + len(body)))
    connection.endheaders(ids)
    connection.sock.sendall(body)
    answer = connection.getresponse()
    told = answer.read()
    return time.perf_counter() - begun, answer.status, told


def settled(server, quiet=1.0, most=float("inf")):
    """Processor seconds of the server once it has nothing to do for a while, maintenance included, or after `most`."""
    last, end = server.processor_seconds(), time.perf_counter() + most
    while True:
        time.sleep(quiet)
        now = server.processor_seconds()
        if now - last < 0.05 * quiet or time.perf_counter() >= end:
            return now
        last = now


def milliseconds(calls, share):
    """A quantile of some seconds, in milliseconds."""
    return round(1000 * float(np.quantile(calls, share)), 2)
