"""Holds a server of ours against its own OpenAPI document with schemathesis; ends with 0 where nothing was found.

    COMPAT_BINARY=target/debug/vermilion .venv/bin/python tests/compat/describe.py [SECONDS]

The server has a collection with a few records, which the paths name, so that most requests reach what they ask for. Requests that
switch components off come last, by themselves: while the component `api` is paused, everything else is answered with 503.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from conftest import Server

CONFIG = Path(__file__).with_name("schemathesis.toml")
SWITCHES = r"^/control/v1/components/\{component\}/(pause|drain|stop)$"
SEED = 20260101


def post(server, path, body):
    url = f"http://{server.host}:{server.port}/api/v2/tenants/default_tenant/databases/default_database/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())


def fill(server):
    """A collection with records of every kind; answers its id."""
    collection = post(server, "collections", {"name": "described"})["id"]
    records = {
        "ids": ["a", "b", "c"],
        "embeddings": [[0.0], [1.0], [2.0]],
        "documents": ["first", None, "third"],
        "metadatas": [{"n": 1, "s": "x", "tags": ["p", "q"]}, {"n": 2.5, "b": True}, None],
        "uris": [None, "file:///b", None],
    }
    post(server, f"collections/{collection}/add", records)
    return collection


def look(server, collection, folder, seconds, *which):
    """Runs schemathesis on some operations; answers whether it found nothing."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(CONFIG),
        "run",
        f"http://{server.host}:{server.port}/openapi.json",
        f"--seed={SEED}",
        f"--max-time={seconds}",
        *which,
    ]
    environment = os.environ | {"COLLECTION": collection}
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode == 0


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 75
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder, "data"), "--allow-reset")
        collection = fill(server)
        found_nothing = look(server, collection, folder, seconds, f"--exclude-path-regex={SWITCHES}")
        switches = [f"--include-path-regex={SWITCHES}", "--phases=coverage,fuzzing"]
        found_nothing &= look(server, collection, folder, 10, *switches)
        stopped = server.stop()
    sys.exit(0 if found_nothing and stopped == 0 else 1)


if __name__ == "__main__":
    main()
