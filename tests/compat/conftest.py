"""Servers for the tests of the official Python client: the real binary on a free port."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import chromadb
import pytest
from chromadb.config import Settings

ROOT = Path(__file__).resolve().parents[2]


def binary():
    """The program under test."""
    return str(ROOT / os.environ.get("COMPAT_BINARY", "target/debug/vermilion"))


class Server:
    """A running server and its data folder."""

    def __init__(self, folder, *flags):
        self.folder = Path(folder)
        self.flags = flags
        self.start()

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("VERMILION_")}
        self.process = subprocess.Popen(
            [binary(), "serve", "--path", str(self.folder), "--port", "0", "--log-level", "warn", *self.flags],
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
            env=environment,
        )
        line = self.process.stdout.readline()
        found = re.search(r"http://([^:]+):(\d+)", line)
        assert found, f"the server did not say where it listens: {line!r}"
        self.host, self.port = found.group(1), int(found.group(2))

    def client(self, **more):
        settings = Settings(anonymized_telemetry=False)
        return chromadb.HttpClient(host=self.host, port=self.port, settings=settings, **more)

    def ask(self, method, path, body=None):
        """The status of an answer to JSON, and its text."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.host}:{self.port}{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self, sign=signal.SIGTERM):
        with self.process as process:
            if process.poll() is None:
                process.send_signal(sign)
            return process.wait(timeout=20)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that do not stop it."""
    running = Server(tmp_path_factory.mktemp("server"), "--allow-reset")
    yield running
    assert running.stop() == 0


@pytest.fixture
def own_server(tmp_path):
    """A server that the test may stop and start."""
    running = Server(tmp_path)
    yield running
    running.stop(signal.SIGKILL)


@pytest.fixture
def client(server):
    return server.client()


@pytest.fixture
def collection(client):
    """An empty collection without an embedding function."""
    name = f"c-{uuid.uuid4().hex}"
    yield client.create_collection(name, embedding_function=None)
    client.delete_collection(name)
