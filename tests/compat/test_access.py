"""API keys through the official client: its own ways to send one, and what each key reaches."""

import subprocess

import chromadb
import pytest
from chromadb.config import Settings
from chromadb.errors import ChromaError
from conftest import ROOT, Server, binary


def make_key(file, name, role, *more):
    command = [binary(), "key", "create", name, "--role", role, "--file", str(file), *more]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys.json"
    place = ("--tenant", "default_tenant", "--database", "default_database")
    keys = {role: make_key(file, role, role, *place) for role in ("read", "write")}
    keys["whole"] = make_key(file, "whole", "admin")
    running = Server(folder / "data", "--access-file", str(file))
    yield running, keys
    assert running.stop() == 0


def token_client(server, secret, provider="chromadb.auth.token_authn.TokenAuthClientProvider", **more):
    settings = Settings(
        anonymized_telemetry=False,
        chroma_client_auth_provider=provider,
        chroma_client_auth_credentials=secret,
        **more,
    )
    return chromadb.HttpClient(host=server.host, port=server.port, settings=settings)


def test_a_writer_writes_and_a_reader_only_reads(guarded):
    server, keys = guarded
    writer = token_client(server, keys["write"])
    collection = writer.create_collection("shared", embedding_function=None)
    collection.add(ids=["a"], embeddings=[[1.0, 2.0]])
    reader = token_client(server, keys["read"], chroma_auth_token_transport_header="X-Chroma-Token")
    seen = reader.get_collection("shared", embedding_function=None)
    assert seen.get()["ids"] == ["a"]
    assert seen.query(query_embeddings=[[1.0, 2.0]], n_results=1)["ids"] == [["a"]]
    with pytest.raises(ChromaError):
        seen.add(ids=["b"], embeddings=[[1.0, 2.0]])
    with pytest.raises(ChromaError):
        reader.delete_collection("shared")
    assert seen.count() == 1


def test_the_name_of_a_key_and_its_secret_are_basic_credentials(guarded):
    server, keys = guarded
    provider = "chromadb.auth.basic_authn.BasicAuthClientProvider"
    client = token_client(server, f"whole:{keys['whole']}", provider)
    assert client.get_user_identity().user_id == "whole"
    with pytest.raises(Exception):
        token_client(server, f"read:{keys['whole']}", provider)


def test_who_has_no_key_is_told_so(guarded):
    server, _ = guarded
    with pytest.raises(Exception, match="(?i)api key|unauthor|forbidden|401"):
        server.client()
