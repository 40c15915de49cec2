"""Namespaces and the life of the server through the official client."""

import signal
import threading
import uuid

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError


def test_the_client_connects_and_hears_the_heart_beat(server, client):
    assert client.heartbeat() > 1_700_000_000_000_000_000
    assert client.get_version()
    assert client.get_max_batch_size() >= 5461


def test_collections_are_made_listed_renamed_and_deleted(client):
    names = [f"col-{n}-{uuid.uuid4().hex}" for n in range(3)]
    for name in names:
        client.create_collection(name, metadata={"topic": name}, embedding_function=None)
    listed = {one.name for one in client.list_collections()}
    assert set(names) <= listed
    got = client.get_collection(names[0], embedding_function=None)
    assert got.metadata == {"topic": names[0]}
    renamed = names[0] + "-renamed"
    got.modify(name=renamed)
    with pytest.raises(NotFoundError):
        client.get_collection(names[0], embedding_function=None)
    assert client.get_or_create_collection(renamed, embedding_function=None).id == got.id
    for name in [renamed, *names[1:]]:
        client.delete_collection(name)
    assert not set(names) & {one.name for one in client.list_collections()}


def test_a_collection_made_again_under_its_name_is_empty(client):
    name = f"again-{uuid.uuid4().hex}"
    for _ in range(3):
        made = client.create_collection(name, embedding_function=None)
        assert made.count() == 0
        made.add(ids=["a"], embeddings=[[1.0]])
        client.delete_collection(name)


def test_tenants_and_databases_are_kept_apart(server, client):
    settings = Settings(anonymized_telemetry=False)
    admin = chromadb.AdminClient(
        Settings(
            anonymized_telemetry=False,
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=server.host,
            chroma_server_http_port=server.port,
        )
    )
    tenant = f"tenant-{uuid.uuid4().hex}"
    admin.create_tenant(tenant)
    admin.create_database("first", tenant)
    admin.create_database("second", tenant)
    first = chromadb.HttpClient(host=server.host, port=server.port, tenant=tenant, database="first", settings=settings)
    second = chromadb.HttpClient(host=server.host, port=server.port, tenant=tenant, database="second", settings=settings)
    made = first.create_collection("same-name", embedding_function=None)
    made.add(ids=["a"], embeddings=[[1.0, 2.0]])
    other = second.create_collection("same-name", embedding_function=None)
    assert (made.count(), other.count()) == (1, 0)
    with pytest.raises(ChromaError):
        admin.create_database("first", tenant)
    admin.delete_database("first", tenant)
    assert other.count() == 0


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_everything_is_there_after_a_restart(own_server, sign):
    made = own_server.client().create_collection("kept", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    vectors = np.random.default_rng(5).normal(size=(500, 12)).astype(np.float32)
    names = [f"r{n}" for n in range(500)]
    made.add(ids=names, embeddings=vectors, documents=names, metadatas=[{"n": n} for n in range(500)])
    made.delete(where={"n": {"$lt": 10}})
    made.update(ids=["r20"], metadatas=[{"n": -1}])
    before = made.query(query_embeddings=vectors[30:31], n_results=5)
    status = own_server.stop(sign)
    assert status == (0 if sign == signal.SIGTERM else -sign)
    own_server.start()
    kept = own_server.client().get_collection("kept", embedding_function=None)
    assert kept.configuration["hnsw"]["space"] == "cosine"
    assert kept.count() == 490
    assert kept.get(where={"n": -1})["ids"] == ["r20"]
    after = kept.query(query_embeddings=vectors[30:31], n_results=5)
    assert after["ids"] == before["ids"] and after["distances"] == before["distances"]
    assert np.array_equal(np.asarray(kept.get(include=["embeddings"])["embeddings"], dtype=np.float32), vectors[10:])


def test_many_clients_write_at_once(server):
    name = f"many-{uuid.uuid4().hex}"
    server.client().create_collection(name, embedding_function=None)
    failures = []

    def write(number):
        try:
            own = server.client().get_collection(name, embedding_function=None)
            for batch in range(10):
                ids = [f"{number}-{batch}-{n}" for n in range(50)]
                own.add(ids=ids, embeddings=np.full((50, 8), number, dtype=np.float32))
                assert set(own.get(ids=ids)["ids"]) == set(ids)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert server.client().get_collection(name, embedding_function=None).count() == 8 * 10 * 50


def test_reset_is_refused_unless_it_is_allowed(own_server):
    with pytest.raises(ChromaError, match="Reset is disabled by config"):
        own_server.client().reset()
