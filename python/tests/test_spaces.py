"""The space of an embedding function is that of the collections that are made with it, as with chromadb."""

import importlib
import uuid
import warnings

import numpy as np
import pytest

import vermilion
import vermilion.utils.embedding_functions


def function_of(package, space="cosine", supported=("cosine", "ip"), name="with-a-space"):
    """A function of the base class of ``package``, registered there."""

    class Spaced(package.EmbeddingFunction):
        def __init__(self):
            pass

        def __call__(self, input):
            return [np.array([float(len(text)), 1.0], np.float32) for text in input]

        def default_space(self):
            return space

        def supported_spaces(self):
            return list(supported)

    if name is not None:
        Spaced.name = staticmethod(lambda: name)
        Spaced.build_from_config = staticmethod(lambda config: Spaced())
        Spaced.get_config = lambda self: {}
        importlib.import_module(f"{package.__name__}.utils.embedding_functions").register_embedding_function(Spaced)
    return Spaced()


def indexed(package, **settings):
    return package.Schema().create_index(config=package.VectorIndexConfig(**settings))


#: How a collection is made, the space that it gets, and whether there is a warning.
MADE = {
    "function": (lambda p, f: {"embedding_function": f}, "cosine", False),
    "in a configuration": (lambda p, f: {"configuration": {"embedding_function": f}}, "cosine", False),
    "hnsw without a space": (
        lambda p, f: {"embedding_function": f, "configuration": {"hnsw": {"ef_search": 50}}},
        "cosine",
        False,
    ),
    "spann without a space": (
        lambda p, f: {"embedding_function": f, "configuration": {"spann": {"search_nprobe": 10}}},
        "cosine",
        False,
    ),
    "in a schema": (lambda p, f: {"schema": indexed(p, embedding_function=f)}, "cosine", False),
    "beside a schema": (lambda p, f: {"schema": p.Schema(), "embedding_function": f}, "cosine", False),
    "schema and configuration": (
        lambda p, f: {"schema": p.Schema(), "configuration": {"embedding_function": f}},
        "cosine",
        False,
    ),
    "hnsw in metadata": (lambda p, f: {"embedding_function": f, "metadata": {"hnsw:M": 32}}, "cosine", False),
    "another that it supports": (
        lambda p, f: {"embedding_function": f, "configuration": {"hnsw": {"space": "ip"}}},
        "ip",
        False,
    ),
    "another in metadata": (lambda p, f: {"embedding_function": f, "metadata": {"hnsw:space": "ip"}}, "ip", False),
    "hnsw beside metadata": (
        lambda p, f: {
            "embedding_function": f,
            "metadata": {"hnsw:space": "ip"},
            "configuration": {"hnsw": {"ef_search": 50}},
        },
        "cosine",
        False,
    ),
    "not supported": (
        lambda p, f: {"embedding_function": f, "configuration": {"hnsw": {"space": "l2"}}},
        "l2",
        True,
    ),
    "not supported in metadata": (
        lambda p, f: {"embedding_function": f, "metadata": {"hnsw:space": "l2"}},
        "l2",
        True,
    ),
    "not supported in a schema": (lambda p, f: {"schema": indexed(p, embedding_function=f, space="l2")}, "l2", True),
    "no function": (lambda p, f: {"embedding_function": None}, "l2", False),
    "no function beside a schema": (
        lambda p, f: {"schema": p.Schema(), "configuration": {"hnsw": {"space": "ip"}}},
        "ip",
        False,
    ),
}


def check(package, client, make, case):
    given, space, warns = MADE[case]
    function = function_of(package)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make(f"s-{uuid.uuid4().hex}", **given(package, function))
    told = [str(one.message) for one in caught if one.category is UserWarning]
    assert any("space l2 is not supported by with-a-space" in one for one in told) == warns
    if warns and package is vermilion:
        assert {one.filename for one in caught if one.category is UserWarning} == {__file__}
    assert made.configuration_json["hnsw"]["space"] == space
    client.delete_collection(made.name)


@pytest.mark.parametrize("method", ["create_collection", "get_or_create_collection"])
@pytest.mark.parametrize("case", MADE)
def test_the_space_is_that_of_the_function(client, case, method):
    check(vermilion, client, getattr(client, method), case)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", MADE)
def test_the_table_says_what_chromadb_makes(case):
    chromadb = pytest.importorskip("chromadb")
    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    check(chromadb, client, client.create_collection, case)


def test_functions_that_are_not_kept_say_nothing_of_the_space(client):
    made = client.create_collection(f"s-{uuid.uuid4().hex}", embedding_function=function_of(vermilion, name=None))
    assert made.configuration_json["hnsw"]["space"] == "l2"
    client.delete_collection(made.name)


def test_a_collection_that_is_there_keeps_its_space(client):
    name = f"s-{uuid.uuid4().hex}"
    client.create_collection(name, embedding_function=None)
    again = client.get_or_create_collection(name, embedding_function=function_of(vermilion))
    assert again.configuration_json["hnsw"]["space"] == "l2"
    client.delete_collection(name)


def test_distances_are_those_of_the_space_of_the_function(client):
    made = client.create_collection(f"s-{uuid.uuid4().hex}", embedding_function=function_of(vermilion))
    made.add(ids="a", documents="abc")
    found = made.query(query_texts="abcdef", n_results=1)
    cosine = 1 - (3 * 6 + 1) / (np.hypot(3, 1) * np.hypot(6, 1))
    assert found["distances"][0] == pytest.approx([cosine], abs=1e-5)
    client.delete_collection(made.name)


def numbered(name, number=1.0):
    """A function of this package whose vectors begin with ``number``, which its configuration keeps."""

    class Numbered(vermilion.EmbeddingFunction):
        def __init__(self, first):
            self.first = first

        def __call__(self, input):
            return [np.array([self.first, len(text)], np.float32) for text in input]

        def get_config(self):
            return {"first": self.first}

    Numbered.name = staticmethod(lambda: name)
    Numbered.build_from_config = staticmethod(lambda config: Numbered(config["first"]))
    return vermilion.utils.embedding_functions.register_embedding_function(Numbered)(number)


def first_of(collection):
    """What the vector of a document begins with, as the function of ``collection`` makes it."""
    collection.upsert(["a"], documents=["abc"])
    return collection.get(include=["embeddings"])["embeddings"][0][0]


def test_a_function_of_a_schema_is_found_again_by_its_configuration(client):
    one, other = numbered("of-a-schema", 5.0), numbered("of-none")
    name = f"c-{uuid.uuid4().hex}"
    made = client.create_collection(name, schema=indexed(vermilion, embedding_function=one), embedding_function=None)
    assert made.configuration_json["embedding_function"]["name"] == "of-a-schema"
    assert [first_of(made), first_of(client.get_collection(name)), first_of(client.get_or_create_collection(name))] == [
        5.0,
        5.0,
        5.0,
    ]
    assert first_of(client.get_collection(name, embedding_function=numbered("of-a-schema", 7.0))) == 7.0
    for get in (client.get_collection, client.get_or_create_collection):
        with pytest.raises(ValueError, match="new: of-none vs persisted: of-a-schema"):
            get(name, embedding_function=other)
    client.delete_collection(name)


def test_a_schema_without_a_function_keeps_the_default_one(client):
    name = f"c-{uuid.uuid4().hex}"
    made = client.create_collection(name, schema=vermilion.Schema(), metadata={"hnsw:space": "cosine"})
    kept = {"type": "known", "name": "default", "config": {}}
    assert made.configuration_json["embedding_function"] == kept
    assert client.get_collection(name).configuration_json["embedding_function"] == kept
    assert made.configuration_json["hnsw"]["space"] == "cosine"
    with pytest.raises(ValueError, match="new: of-none vs persisted: default"):
        client.get_collection(name, embedding_function=numbered("of-none"))
    client.delete_collection(name)


@pytest.mark.parametrize("more", ["of-a-schema", "of-none"])
def test_a_function_beside_that_of_a_schema_is_refused(client, more):
    schema = indexed(vermilion, embedding_function=numbered("of-a-schema"))
    name = f"c-{uuid.uuid4().hex}"
    for given in ({"embedding_function": numbered(more)}, {"configuration": {"embedding_function": numbered(more)}}):
        for make in (client.create_collection, client.get_or_create_collection):
            with pytest.raises(ValueError, match="Cannot set both collection config and schema"):
                make(name, schema=schema, **given)
    assert name not in [one.name for one in client.list_collections()]


def test_settings_of_spann_are_judged_by_the_database_first(collection):
    with pytest.raises(ValueError, match="unknown field `bad`"):
        collection.modify(configuration={"spann": {"bad": 7}})
    with pytest.raises(ValueError, match="expected u32"):
        collection.modify(configuration={"spann": {"search_nprobe": "x"}})
    with pytest.raises(ValueError, match="Trying to update SPANN config but schema has HNSW"):
        collection.modify(name=f"{collection.name}-new", configuration={"spann": {"search_nprobe": 7}})
    # As with chromadb, what else was asked for is done.
    assert collection.name.endswith("-new") and collection.configuration_json["spann"] is None
    collection._client.delete_collection(collection.name)
