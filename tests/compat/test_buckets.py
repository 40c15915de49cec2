"""Backups in a bucket: the real binary against a server that speaks S3."""

import datetime
import json
import os
import subprocess

import numpy as np
import pytest
import requests
from conftest import Server, binary

moto_server = pytest.importorskip("moto.server")
from moto.core import DEFAULT_ACCOUNT_ID  # noqa: E402
from moto.s3.models import s3_backends  # noqa: E402


def run(*arguments, **environment):
    return subprocess.run(
        [binary(), *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


@pytest.fixture(scope="module")
def bucket():
    """A store with one bucket, whose address and keys are in the environment."""
    if "built without" in run("backups", "s3://bucket").stderr:
        pytest.skip("the program was built without the feature object-store")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    told = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    assert requests.put(f"{url}/bucket", timeout=10).status_code == 200
    yield "s3://bucket"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


def objects():
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets["bucket"].keys


def fill(collection, first, count, dimension):
    rows = range(first, first + count)
    vectors = np.random.default_rng(first).standard_normal((count, dimension), dtype=np.float32)
    collection.add(
        ids=[f"r{row}" for row in rows],
        embeddings=vectors,
        documents=[f"document {row}" for row in rows],
        metadatas=[{"row": row} for row in rows],
    )


def everything(collection):
    found = collection.get(include=["embeddings", "documents", "metadatas"])
    return found["ids"], found["documents"], found["metadatas"], np.asarray(found["embeddings"]).tolist()


def test_a_server_keeps_backups_in_a_bucket_and_a_restore_brings_every_record_back(bucket, tmp_path):
    server = Server(tmp_path / "data", "--backup-folder", f"{bucket}/kept", "--seal-rows", "1000")
    url = f"http://{server.host}:{server.port}/control/v1/backups"
    collection = server.client().create_collection("notes")
    # Its file of vectors is larger than one part of an object.
    for first in range(0, 6000, 2000):
        fill(collection, first, 2000, 768)
    full = requests.post(url, json={"destination": "nightly", "kind": "full"}, timeout=120)
    assert full.status_code in (200, 201), full.text
    fill(collection, 6000, 500, 768)
    collection.delete(ids=["r1"])
    more = requests.post(url, json={"destination": "nightly"}, timeout=120)
    assert more.status_code in (200, 201), more.text
    assert more.json()["kind"] == "incremental"
    expected = everything(collection)
    assert server.stop() == 0
    names = list(objects())
    assert any(name.startswith("kept/nightly/") for name in names), names
    assert not any(name.endswith("lease") for name in names), names

    listed = run("backups", f"{bucket}/kept/nightly", "--check", "--json")
    assert listed.returncode == 0, listed.stderr
    kinds = [(backup["kind"], backup["damage"]) for backup in json.loads(listed.stdout)]
    assert kinds == [("full", []), ("incremental", [])]

    restored = run("restore", f"{bucket}/kept/nightly", str(tmp_path / "restored"))
    assert restored.returncode == 0, restored.stderr
    again = Server(tmp_path / "restored")
    assert everything(again.client().get_collection("notes")) == expected
    assert again.stop() == 0


def test_damage_in_a_bucket_is_found(bucket, tmp_path):
    server = Server(tmp_path / "data")
    fill(server.client().create_collection("notes"), 0, 50, 4)
    assert server.stop() == 0
    made = run("backup", f"{bucket}/damaged", "--path", str(tmp_path / "data"))
    assert made.returncode == 0, made.stderr
    name = next(name for name in objects() if name.startswith("damaged/") and name.endswith("catalog.json"))
    held = objects()[name].value
    objects()[name].value = held[:-5] + b"XXXXX"
    checked = run("backups", f"{bucket}/damaged", "--check")
    assert checked.returncode == 1, checked.stdout
    assert "damaged" in checked.stderr
    restored = run("restore", f"{bucket}/damaged", str(tmp_path / "restored"))
    assert restored.returncode != 0
    assert not (tmp_path / "restored").exists()


def test_one_program_writes_at_a_time_and_a_lease_that_is_over_is_taken(bucket, tmp_path):
    server = Server(tmp_path / "data")
    fill(server.client().create_collection("notes"), 0, 5, 2)
    assert server.stop() == 0
    requests.put(f"{os.environ['AWS_ENDPOINT_URL']}/bucket/shared/lease", data=b"another", timeout=10)
    arguments = ("backup", f"{bucket}/shared", "--path", str(tmp_path / "data"))
    refused = run(*arguments)
    assert refused.returncode != 0
    assert "another program writes backups" in refused.stderr and "shared/lease" in refused.stderr
    assert set(name for name in objects() if name.startswith("shared/")) == {"shared/lease"}
    key = objects()["shared/lease"]
    key.last_modified = key.last_modified - datetime.timedelta(hours=1)
    made = run(*arguments)
    assert made.returncode == 0, made.stderr
    assert "shared/lease" not in objects()


def test_what_cannot_be_reached_says_what_to_do(bucket, tmp_path):
    for address, environment, expected in [
        ("s3://", {}, "s3://BUCKET/PREFIX"),
        ("s3://nobody/x", {}, "nobody"),
        (f"{bucket}/x", {"AWS_ALLOW_HTTP": "false"}, "AWS_ALLOW_HTTP=true"),
    ]:
        refused = run("restore", address, str(tmp_path / "restored"), **environment)
        assert refused.returncode != 0, address
        assert expected in refused.stderr, refused.stderr
        assert not (tmp_path / "restored").exists()
