"""Databases for the tests of the package: in this process, in memory and in a folder, and behind the
real server on a free port."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import vermilion

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """A running server."""

    def __init__(self, folder, *flags, port=0):
        binary = ROOT / os.environ.get("COMPAT_BINARY", "target/debug/vermilion")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("VERMILION_")}
        self.process = subprocess.Popen(
            [binary, "serve", "--path", folder, "--port", str(port), "--log-level", "warn", *flags],
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
        return vermilion.HttpClient(self.host, self.port, **more)

    def stop(self):
        with self.process as process:
            process.terminate()
            return process.wait(timeout=20)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"), "--allow-reset")
    yield running
    assert running.stop() == 0


@pytest.fixture(params=["memory", "folder", "http", "arrow", "socket"])
def client(request, tmp_path):
    """A client of each kind."""
    if request.param == "memory":
        made = vermilion.EphemeralClient()
    elif request.param == "folder":
        made = vermilion.PersistentClient(tmp_path / "data")
    elif request.param == "socket":
        made = request.getfixturevalue("server").client()
    else:
        form = "json" if request.param == "http" else "arrow"
        if form == "arrow":
            pytest.importorskip("pyarrow")
        settings = vermilion.Settings(record_form=form)
        made = request.getfixturevalue("server").client(settings=settings, transport="http")
    with made:
        yield made


@pytest.fixture
def collection(client):
    """An empty collection without an embedding function."""
    name = f"c-{uuid.uuid4().hex}"
    yield client.create_collection(name, embedding_function=None)
    names = [one.name for one in client.list_collections()]
    if name in names:
        client.delete_collection(name)
