"""Clients, collections, tenants and databases: the same over every transport."""

import asyncio
import uuid

import numpy as np
import pytest

import vermilion
from vermilion import errors, embedding_functions as functions
from vermilion.config import Settings


def fresh():
    return f"n-{uuid.uuid4().hex}"


@functions.register_embedding_function
class Lengths(functions.EmbeddingFunction):
    """A small deterministic function: the length of a text, and its first character."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, input):
        return [np.array([len(text) * self.factor, ord(text[:1] or " ")], np.float32) for text in input]

    @staticmethod
    def name():
        return "lengths"

    @staticmethod
    def build_from_config(config):
        return Lengths(**config)

    def get_config(self):
        return {"factor": self.factor}


def test_client_tells_what_it_is(client):
    assert client.heartbeat() > 10**18
    assert client.get_version() == vermilion.__version__
    assert client.get_max_batch_size() >= 41_666
    kind = client.transport.split(":")[0]
    assert kind in ("in process", "memory", "socket", "http")
    assert client.get_user_identity().user_id == ""


def test_a_collection_got_with_none_embeds_with_what_it_was_made_with(client, monkeypatch):
    name = fresh()
    client.create_collection(name, embedding_function=Lengths(2.0)).add(ids="a", documents="abc")
    found = client.get_collection(name, embedding_function=None)
    with monkeypatch.context() as unknown:
        unknown.delitem(functions.known_embedding_functions, "lengths")
        with pytest.raises(errors.InvalidArgumentError, match="You must provide an embedding function"):
            found.add(ids="b", documents="z")
    found.add(ids="b", documents="z")
    vectors = found.get(include=["embeddings"])["embeddings"]
    assert [list(one) for one in vectors] == [[6.0, ord("a")], [2.0, ord("z")]]
    assert found.query(query_texts="abc", n_results=1)["ids"] == [["a"]]
    # One that cannot be made hinders nobody who gives vectors.
    monkeypatch.setattr(Lengths, "build_from_config", staticmethod(lambda config: 1 / 0))
    again = client.get_collection(name, embedding_function=None)
    again.add(ids="c", embeddings=[1.0, 2.0])
    with pytest.raises(ZeroDivisionError):
        again.add(ids="d", documents="z")


def test_collections_are_made_found_changed_and_deleted(client):
    name, other = fresh(), fresh()
    made = client.create_collection(
        name,
        configuration={"hnsw": {"space": "cosine"}},
        metadata={"k": 1},
        embedding_function=None,
    )
    assert made.configuration["hnsw"]["space"] == "cosine" and made.metadata == {"k": 1}
    found = client.get_collection(name)
    assert (found.id, found.name, found.metadata) == (made.id, name, {"k": 1})
    assert client.get_collection(made.id) == made
    assert client.get_collection_by_id(made.id) == made
    with pytest.raises(errors.UniqueConstraintError, match="already exists"):
        client.create_collection(name)
    assert client.get_or_create_collection(name, metadata={"k": 2}).metadata == {"k": 1}
    made.modify(name=other, metadata={"l": 2}, configuration={"hnsw": {"ef_search": 77}})
    assert (made.name, made.metadata) == (other, {"l": 2})
    assert made.configuration_json["hnsw"]["ef_search"] == 77
    with pytest.raises(errors.NotFoundError):
        client.get_collection(name)
    before = client.count_collections()
    assert other in [one.name for one in client.list_collections()]
    assert len(client.list_collections(limit=1)) == 1
    client.delete_collection(other)
    assert client.count_collections() == before - 1
    with pytest.raises(errors.NotFoundError):
        client.delete_collection(other)
    with pytest.raises(errors.NotFoundError):
        made.count()


@pytest.mark.parametrize("name", ["a", "no spaces", "two..dots", "1.2.3.4"])
def test_names_are_checked(client, name):
    with pytest.raises(ValueError, match="Expected a name"):
        client.create_collection(name)


def test_distances_are_those_of_the_space(client):
    for space, expected in (("l2", 1.0), ("cosine", 1 - 2**-0.5), ("ip", 0.0)):
        collection = client.create_collection(
            fresh(), configuration={"hnsw": {"space": space}}, embedding_function=None
        )
        collection.add(ids="a", embeddings=[1, 0])
        found = collection.query(query_embeddings=[1, 1])
        assert found["distances"][0][0] == pytest.approx(expected, abs=1e-6)


def test_forks_go_their_own_way(client):
    origin = client.create_collection(fresh(), embedding_function=None)
    origin.add(ids=["a", "b"], embeddings=[[1, 2], [3, 4]])
    fork = origin.fork(fresh())
    fork.add(ids="c", embeddings=[5, 6])
    origin.delete(ids=["a"])
    assert (origin.count(), fork.count()) == (1, 3)
    assert fork.fork_count() == origin.fork_count() == 1
    assert origin.get_indexing_status().total_ops == 3


def test_schemas_say_what_is_indexed(client):
    schema = vermilion.Schema()
    schema.create_index(vermilion.VectorIndexConfig(space="ip"))
    schema.delete_index(vermilion.StringInvertedIndexConfig(), key="raw")
    made = client.create_collection(fresh(), schema=schema, embedding_function=None)
    told = made.schema.serialize_to_json()["keys"]
    assert told["raw"]["string"]["string_inverted_index"]["enabled"] is False
    assert made.configuration_json["hnsw"]["space"] == "ip"
    with pytest.raises(ValueError, match="takes no key"):
        schema.create_index(vermilion.VectorIndexConfig(), key="k")


def test_documents_are_embedded_by_the_function_of_the_collection(client):
    name = fresh()
    made = client.create_collection(name, embedding_function=Lengths(2.0))
    made.add(ids=["a", "b"], documents=["x", "yyyy"])
    assert made.get(include=["embeddings"])["embeddings"].tolist() == [[2, 120], [8, 121]]
    again = client.get_collection(name)
    assert again.configuration["embedding_function"].factor == 2.0
    assert again.query(query_texts=["yyyy"], n_results=1)["ids"] == [["b"]]
    again.update(ids="a", documents="zz")
    assert again.get("a", include=["embeddings"])["embeddings"].tolist() == [[4, 122]]
    knn = vermilion.Knn("yyyy")
    assert again.search(vermilion.Search(rank=knn, limit=1))["ids"] == [["b"]]
    with pytest.raises(ValueError, match="None"):
        made.add(ids=["c", "d"], documents=["x", None])


class Other(Lengths):
    @staticmethod
    def name():
        return "other"


def test_another_function_than_that_of_the_collection_is_refused(client):
    name, plain, unnamed = fresh(), fresh(), fresh()
    made = client.create_collection(name, embedding_function=Lengths(2.0))
    client.create_collection(plain)
    client.create_collection(unnamed, embedding_function=lambda input: [[1.0] for _ in input])
    none = client.create_collection(fresh(), embedding_function=None)
    gets = (
        client.get_collection,
        client.get_or_create_collection,
        lambda name, **more: client.get_collection(made.id if name == made.name else name, **more),
    )
    for get in gets:
        with pytest.raises(ValueError, match="Embedding function conflict: new: other vs persisted: lengths"):
            get(name, embedding_function=Other(2.0))
        with pytest.raises(ValueError, match="conflict: new: NotImplemented vs persisted: lengths"):
            get(name, embedding_function=lambda input: input)
        with pytest.raises(ValueError, match="conflict: new: other vs persisted: default"):
            get(plain, embedding_function=Other(2.0))
        # One of the same name may be made in another way, and the default one gives way.
        assert get(name, embedding_function=Lengths(3.0)).configuration["embedding_function"].factor == 3.0
        default = functions.DefaultEmbeddingFunction()
        assert get(name, embedding_function=default).configuration["embedding_function"].factor == 2.0
        assert get(name, embedding_function=None).configuration["embedding_function"] is None
        for free in (unnamed, none.name):
            other = Other(2.0)
            assert get(free, embedding_function=other).configuration["embedding_function"] is other


def test_a_configuration_names_the_function_of_a_new_collection_alone(client):
    name = fresh()
    configured = {"embedding_function": Lengths(2.0)}
    made = client.get_or_create_collection(name, configuration=configured)
    assert made.configuration["embedding_function"] is configured["embedding_function"]
    other = client.get_or_create_collection(name, configuration={"embedding_function": Other(5.0)})
    assert other.configuration["embedding_function"].factor == 2.0
    with pytest.raises(ValueError, match="provide only one. Embedding function conflict: other vs lengths"):
        client.create_collection(fresh(), configuration=configured, embedding_function=Other(1.0))
    one = client.create_collection(fresh(), configuration=configured, embedding_function=Lengths(9.0))
    assert one.configuration["embedding_function"].factor == 9.0
    assert one.configuration_json["embedding_function"]["config"] == {"factor": 2.0}


def test_images_and_uris_are_embedded_too(client):
    images = {"u1": np.full((2, 2), 1), "u2": np.full((2, 2), 5)}

    def mean(input):
        return [[float(np.mean(one)), 1.0] for one in input]

    made = client.create_collection(
        fresh(), embedding_function=mean, data_loader=lambda uris: [images.get(one) for one in uris]
    )
    made.add(ids=["a", "b"], uris=["u1", "u2"])
    made.add(ids="c", images=[np.full((2, 2), 9)])
    found = made.get(include=["embeddings", "data"], ids=["a", "b"])
    assert found["embeddings"].tolist() == [[1, 1], [5, 1]]
    assert found["data"][1] is images["u2"] and found["included"] == ["embeddings", "data"]
    assert made.query(query_images=[images["u2"]], n_results=1)["ids"] == [["b"]]
    assert made.query(query_uris="u1", n_results=1, include=["data"])["data"][0][0] is images["u1"]


def test_tenants_and_databases(client):
    tenant, database = fresh(), fresh()
    client.create_tenant(tenant)
    assert client.get_tenant(tenant)["name"] == tenant
    client.create_database(database, tenant)
    assert client.get_database(database, tenant)["tenant"] == tenant
    assert [one["name"] for one in client.list_databases(tenant=tenant)] == [database]
    with pytest.raises(ValueError, match="Could not connect to tenant"):
        client.set_tenant(fresh())
    assert client.tenant == "default_tenant"
    client.set_tenant(tenant, database)
    client.create_collection("here", embedding_function=None)
    assert client.count_collections() == 1
    with pytest.raises(ValueError, match="Could not connect to database"):
        client.set_database("elsewhere")
    client.delete_database(database, tenant)
    with pytest.raises(errors.NotFoundError):
        client.get_database(database, tenant)
    with pytest.raises(errors.UniqueConstraintError):
        client.create_tenant(tenant)


def test_admin_clients_reach_the_same_database(tmp_path):
    settings = Settings(is_persistent=True, persist_directory=str(tmp_path))
    with vermilion.AdminClient(settings) as admin, vermilion.PersistentClient(tmp_path) as client:
        admin.create_database("second")
        client.set_database("second")
        assert [one["name"] for one in admin.list_databases()] == ["default_database", "second"]


def test_reset_takes_everything_where_it_is_allowed(server, tmp_path):
    with vermilion.PersistentClient(tmp_path, settings=Settings(allow_reset=False)) as refused:
        with pytest.raises(errors.AuthorizationError, match="Resetting is not allowed"):
            refused.reset()
    allowed = vermilion.PersistentClient(tmp_path, settings=Settings(allow_reset=True))
    for client in (allowed, server.client()):
        client.create_collection(fresh(), embedding_function=None)
        assert client.reset() is True
        assert client.count_collections() == 0
        client.close()


def test_closed_clients_say_so(client):
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.heartbeat()


def test_no_server_is_a_transport_error():
    with pytest.raises(errors.TransportError, match="did not answer"):
        vermilion.HttpClient("127.0.0.1", 9)
    with pytest.raises(ValueError, match="no host"):
        vermilion.HttpClient("ftp://somewhere")


def test_forms_of_records_are_chosen_or_asked_for(server, monkeypatch):
    with server.client() as client:
        assert "pyarrow is there" in client.transport
        made = client.create_collection(fresh(), embedding_function=None)
        # Few records go as JSON, many as Arrow; both are the same records.
        block = np.random.default_rng(5).standard_normal((200, 4), dtype=np.float32)
        made.add(ids=[str(row) for row in range(200)], embeddings=block, metadatas=[{"k": [1, 2]}] * 200)
        everything = made.get(include=["embeddings", "metadatas"])
        np.testing.assert_array_equal(everything["embeddings"], block)
        assert everything["metadatas"] == [{"k": [1, 2]}] * 200
        few = made.get(ids=["7"], include=["embeddings"])
        np.testing.assert_array_equal(few["embeddings"], block[7:8])
        # A server that knows JSON alone says so once.
        monkeypatch.setattr("vermilion.streams.MEDIA_TYPE", "application/of-another-kind")
        made.upsert(ids=[f"{row}" for row in range(100, 300)], embeddings=block)
        assert made.count() == 300 and "takes JSON only" in client.transport
    with pytest.raises(ValueError, match="no form of records"):
        server.client(settings=Settings(record_form="xml"))


def test_addresses_may_be_whole(server):
    with vermilion.HttpClient(f"http://{server.host}:{server.port}") as client:
        assert client.heartbeat()
    settings = Settings(chroma_server_host=server.host, chroma_server_http_port=server.port)
    with vermilion.Client(settings) as client:
        assert "http://" in client.transport


def test_an_async_client_closes_at_the_end_of_its_block(server):
    async def run():
        async with await vermilion.AsyncHttpClient(server.host, server.port) as client:
            assert await client.heartbeat() > 0
        with pytest.raises(RuntimeError, match="client was closed"):
            await client.heartbeat()

    asyncio.run(run())


def test_async_client_does_the_same(server):
    async def run():
        client = await vermilion.AsyncHttpClient(server.host, server.port)
        collection = await client.create_collection(fresh(), embedding_function=None)
        block = np.eye(20, dtype=np.float32)
        adds = (collection.add(ids=str(row), embeddings=block[row]) for row in range(20))
        await asyncio.gather(*adds)
        assert await collection.count() == 20
        found = await collection.query(query_embeddings=block[3], n_results=1)
        assert found["ids"] == [["3"]]
        assert collection.name in [one.name for one in await client.list_collections()]
        with pytest.raises(errors.NotFoundError):
            await client.get_collection(fresh())
        await client.close()

    asyncio.run(run())


def test_programs_for_chromadb_find_their_names():
    import vermilion as chromadb

    assert chromadb.utils.embedding_functions.EmbeddingFunction is functions.EmbeddingFunction
    assert chromadb.config.Settings is Settings
    assert chromadb.api.types.SparseVector is chromadb.SparseVector
    assert issubclass(chromadb.errors.NotFoundError, chromadb.errors.ChromaError)
    for name in chromadb.__all__:
        assert getattr(chromadb, name) is not None
    with pytest.raises(AttributeError):
        chromadb.nothing_of_this_name


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ALLOW_RESET", "true")
    assert Settings().allow_reset is True
    assert Settings(allow_reset=False).allow_reset is False


def test_functions_fill_a_collection_from_another(client):
    collection = client.create_collection(fresh(), embedding_function=None)
    collection.add(ids=["a", "b"], embeddings=[[1.0]] * 2, metadatas=[{"k": "x"}, {"k": "x"}])
    output = fresh()
    attached, created = collection.attach_function("statistics", "stats", output)
    assert created and attached.function_name == "statistics" and attached.output_collection == output
    assert collection.get_attached_function("stats") == attached
    found = client.get_collection(output, embedding_function=None)
    counts = {one["value"]: one["count"] for one in found.get()["metadatas"]}
    assert counts == {"x": 2, "total_count": 2}
    assert collection.detach_function("stats", delete_output_collection=True)
    with pytest.raises(errors.NotFoundError):
        collection.detach_function("stats")
