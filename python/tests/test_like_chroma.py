"""What chromadb refuses is refused with an exception that programs for it catch, over every transport.

The tables say what chromadb raises; where it is installed, it is asked itself.
"""

import importlib.util
import subprocess
import sys
import uuid

import numpy as np
import pytest

import vermilion
from vermilion import errors
from vermilion.config import Settings

QUERY = {"query_embeddings": [[1.0, 2.0]]}


def fresh():
    return f"n-{uuid.uuid4().hex}"


def add(collection, **given):
    collection.add(**{"ids": fresh(), "embeddings": [[1.0, 2.0]], **given})


def make(client, **given):
    return client.create_collection(**{"name": fresh(), "embedding_function": None, **given})


class OtherName:
    """A function whose argument is not called input."""

    def __call__(self, texts):
        return [[1.0, 2.0] for _ in texts]


def one_argument(x):
    return x


EMBEDDINGS = {"embeddings": [[1.0, 2.0]]}
#: Calls, and what chromadb raises in process.
REFUSED = {
    "n_results 0": (lambda db, c: c.query(**QUERY, n_results=0), TypeError),
    "n_results -1": (lambda db, c: c.query(**QUERY, n_results=-1), TypeError),
    "n_results None": (lambda db, c: c.query(**QUERY, n_results=None), ValueError),
    "n_results text": (lambda db, c: c.query(**QUERY, n_results="3"), ValueError),
    "get limit text": (lambda db, c: c.get(limit="x"), TypeError),
    "get limit -1": (lambda db, c: c.get(limit=-1), OverflowError),
    "get offset -1": (lambda db, c: c.get(offset=-1), OverflowError),
    "peek -1": (lambda db, c: c.peek(-1), OverflowError),
    "delete limit text": (lambda db, c: c.delete(where={"k": 1}, limit="x"), TypeError),
    "list limit -1": (lambda db, c: db.list_collections(limit=-1), OverflowError),
    "list limit text": (lambda db, c: db.list_collections(limit="x"), TypeError),
    "ids twice": (lambda db, c: c.get(ids=["a", "a"]), errors.DuplicateIDError),
    "ids none": (lambda db, c: c.get(ids=[]), ValueError),
    "ids number": (lambda db, c: c.query(**QUERY, ids=[1]), TypeError),
    "key number": (lambda db, c: add(c, metadatas=[{1: 2}]), TypeError),
    "key None": (lambda db, c: add(c, metadatas=[{"a": 1, None: 2}]), TypeError),
    "key number in update": (lambda db, c: c.update(ids="a", metadatas=[{1: 2}]), TypeError),
    "value None": (lambda db, c: add(c, metadatas=[{"a": None}]), TypeError),
    "list empty": (lambda db, c: add(c, metadatas=[{"a": []}]), ValueError),
    "list mixed": (lambda db, c: add(c, metadatas=[{"a": [1, 2.5]}]), ValueError),
    "list of truths and numbers": (lambda db, c: add(c, metadatas=[{"a": [1, True]}]), ValueError),
    "list mixed in upsert": (lambda db, c: c.upsert(ids="a", **EMBEDDINGS, metadatas={"a": [1, "x"]}), ValueError),
    "key reserved": (lambda db, c: add(c, metadatas=[{"chroma:document": "x"}]), ValueError),
    "image text": (lambda db, c: add(c, images=["x"]), ValueError),
    "image lists": (lambda db, c: add(c, images=[[[1, 2], [3, 4]]]), ValueError),
    "and of one": (lambda db, c: c.get(where={"$and": [{"k": 1}]}), ValueError),
    "or of none": (lambda db, c: c.get(where={"$or": []}), ValueError),
    "and of one within": (lambda db, c: c.get(where={"$or": [{"k": 1}, {"$and": [{"k": 1}]}]}), ValueError),
    "where key number": (lambda db, c: c.get(where={1: 2}), ValueError),
    "where key number within": (lambda db, c: c.get(where={"$and": [{"k": 1}, {1: 2}]}), ValueError),
    "where in query": (lambda db, c: c.query(**QUERY, where={"$and": [{"k": 1}]}), ValueError),
    "where in delete": (lambda db, c: c.delete(where={1: 2}), ValueError),
    "contains nothing": (lambda db, c: c.get(where_document={"$contains": ""}), ValueError),
    "regex of nothing": (lambda db, c: c.delete(where_document={"$regex": ""}), ValueError),
    "document and of one": (lambda db, c: c.get(where_document={"$and": [{"$contains": "x"}]}), ValueError),
    "contains nothing within": (
        lambda db, c: c.get(where_document={"$or": [{"$contains": "x"}, {"$contains": ""}]}),
        ValueError,
    ),
    "name None": (lambda db, c: make(db, name=None), TypeError),
    "name number": (lambda db, c: make(db, name=5), TypeError),
    "get name number": (lambda db, c: db.get_collection(5), TypeError),
    "delete name None": (lambda db, c: db.delete_collection(None), TypeError),
    "collection value None": (lambda db, c: make(db, metadata={"a": None}), TypeError),
    "collection value dictionary": (lambda db, c: make(db, metadata={"a": {"b": 1}}), TypeError),
    "collection metadata text": (lambda db, c: make(db, metadata="x"), TypeError),
    "collection key number": (lambda db, c: make(db, metadata={1: 2}), TypeError),
    "collection list empty": (lambda db, c: make(db, metadata={"a": []}), ValueError),
    "modify name": (lambda db, c: c.modify(name=5), TypeError),
    "modify key number": (lambda db, c: c.modify(metadata={1: 2}), TypeError),
    "modify metadata number": (lambda db, c: c.modify(metadata=5), ValueError),
    "modify list empty": (lambda db, c: c.modify(metadata={"a": []}), ValueError),
    "modify key reserved": (lambda db, c: c.modify(metadata={"chroma:document": "x"}), ValueError),
    "function of x": (lambda db, c: make(db, embedding_function=one_argument), ValueError),
    "function of texts": (lambda db, c: make(db, embedding_function=OtherName()), ValueError),
    "function a number": (lambda db, c: make(db, embedding_function=5), ValueError),
    "function a class": (lambda db, c: make(db, embedding_function=OtherName), ValueError),
    "get function of x": (lambda db, c: db.get_collection(c.name, embedding_function=one_argument), ValueError),
    "query texts of another number": (lambda db, c: c.query(**QUERY, query_texts=["x", "y"]), ValueError),
    "query text number": (lambda db, c: c.query(**QUERY, query_texts=[5]), ValueError),
    "vector of truths and numbers": (lambda db, c: add(c, embeddings=[[True, 2]]), ValueError),
    "masked number": (
        lambda db, c: add(c, embeddings=np.ma.masked_array(np.ones((1, 2), np.float32), mask=[[0, 1]])),
        errors.InvalidArgumentError,
    ),
    "masked number in a list": (
        lambda db, c: add(c, embeddings=[np.ma.masked_array(np.ones(2, np.float32), mask=[0, 1])]),
        errors.InvalidArgumentError,
    ),
    "modify spann": (lambda db, c: c.modify(configuration={"spann": {"search_nprobe": 10}}), ValueError),
    "tenant": (lambda db, c: db.set_tenant("nope"), errors.NotFoundError),
    "database": (lambda db, c: db.set_database("nope"), errors.NotFoundError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_chromadb_refuses_is_refused(client, collection, case):
    call, kind = REFUSED[case]
    before = len(client.list_collections())
    with pytest.raises(kind) as caught:
        call(client, collection)
    assert isinstance(caught.value, errors.ChromaError)
    # Programs that caught errors of the package before still do.
    assert isinstance(caught.value, ValueError) and str(caught.value)
    assert collection.count() == 0 and len(client.list_collections()) == before


@pytest.mark.filterwarnings("ignore:legacy embedding function config", "ignore:.*masked element")
@pytest.mark.parametrize("case", REFUSED)
def test_the_table_says_what_chromadb_raises(case):
    chromadb = pytest.importorskip("chromadb")
    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    collection = make(client)
    call, kind = REFUSED[case]
    with pytest.raises(Exception) as caught:
        call(client, collection)
    assert type(caught.value).__name__ == kind.__name__


def test_vectors_are_taken_where_texts_are_given_too(collection):
    add(collection, ids="a")
    beside = {"query_texts": ["x"], "query_uris": ["u"], "query_images": [np.zeros((2, 2))]}
    for name, value in beside.items():
        assert collection.query(**QUERY, **{name: value})["ids"] == [["a"]]


def test_a_server_that_is_not_there_is_every_kind_of_error():
    for kind in (ValueError, ConnectionError, errors.TransportError):
        with pytest.raises(kind, match="Could not connect to a Chroma server. Are you sure it is running?"):
            vermilion.HttpClient("127.0.0.1", 1)


def test_unknown_places_are_not_found_when_a_client_is_made(server, tmp_path):
    for made in (vermilion.EphemeralClient, lambda **more: vermilion.PersistentClient(tmp_path, **more), server.client):
        for place in ({"tenant": "nope"}, {"database": "nope"}, {"tenant": 5}):
            with pytest.raises(errors.NotFoundError, match="Could not connect to"):
                made(**place)


def test_clients_of_one_database_have_the_same_settings(tmp_path):
    with vermilion.PersistentClient(tmp_path) as first, vermilion.PersistentClient(tmp_path) as same:
        first.create_collection("kept", embedding_function=None)
        for made in (
            lambda settings: vermilion.PersistentClient(tmp_path, settings),
            lambda settings: vermilion.Client(settings.changed(is_persistent=True, persist_directory=str(tmp_path))),
        ):
            with pytest.raises(ValueError, match="already exists for .* with different settings"):
                made(Settings(allow_reset=True))
        assert same.count_collections() == 1
    with vermilion.PersistentClient(tmp_path, Settings(allow_reset=True)) as later:
        assert later.reset() and later.count_collections() == 0


def test_places_that_cannot_be_folders_are_told(tmp_path):
    file = tmp_path / "records.parquet"
    file.write_text("x")
    for place, message in ((file, "is a file"), (file / "below", "cannot be made")):
        with pytest.raises(errors.InvalidArgumentError, match=message):
            vermilion.PersistentClient(place)


@pytest.mark.parametrize("said", ["Permission denied (os error 13)", "Read-only file system (os error 30)"])
def test_folders_that_cannot_be_written_are_told_with_what_to_do(tmp_path, monkeypatch, said):
    # Tests often run as root, whom the system lets write everywhere.
    def refuse(path):
        raise errors.InternalError(f"Cannot open the lock {path}/lock: {said}")

    monkeypatch.setattr("vermilion._engine.Engine", refuse)
    with pytest.raises(errors.InvalidArgumentError, match=r"cannot be written: .*\(os error \d+\). A database .* right to write"):
        vermilion.PersistentClient(tmp_path)


def test_collections_show_what_chromadb_shows(client):
    made = make(client, configuration={"hnsw": {"space": "l2"}})
    for one in (made, client.get_collection(made.name, embedding_function=None)):
        assert one.configuration_json["embedding_function"] == {"type": "legacy"}
    plain = make(client)
    assert plain.configuration_json["embedding_function"] is None
    plain.modify(configuration={"hnsw": {"ef_search": 77}})
    assert plain.configuration_json["embedding_function"] == {"type": "legacy"}
    plain.modify(metadata={"a": None, "b": 1})
    assert plain.metadata == {"a": None, "b": 1}
    assert client.get_collection(plain.name, embedding_function=None).metadata == {"b": 1}
    plain.modify(name=fresh())
    assert plain.metadata == {"b": 1}
    for one in (made, plain):
        client.delete_collection(one.name)


def test_answers_have_the_same_keys_over_every_transport(server, collection):
    with server.client(transport="json") as client:
        made = make(client)
        assert sorted(made.get()) == sorted(collection.get())
        assert sorted(made.query(**QUERY)) == sorted(collection.query(**QUERY))
        client.delete_collection(made.name)


#: Modules of chromadb, and names that programs take from them.
MODULES = {
    "api": "AdminAPI AsyncClientAPI ClientAPI ServerAPI types",
    "api.async_api": "AsyncClientAPI",
    "api.client": "AdminClient Client SharedSystemClient",
    "api.collection_configuration": (
        "CollectionConfiguration CreateCollectionConfiguration CreateHNSWConfiguration CreateSpannConfiguration "
        "UpdateCollectionConfiguration UpdateHNSWConfiguration UpdateSpannConfiguration"
    ),
    "api.models.AsyncCollection": "AsyncCollection",
    "api.models.Collection": "Collection",
    "api.shared_system_client": "SharedSystemClient",
    "api.types": (
        "DataLoader DefaultEmbeddingFunction Document Documents Embeddable EmbeddingFunction Embeddings GetResult ID IDs "
        "Image Images Include IncludeMetadataDocuments Loadable Metadata Metadatas QueryResult ReadLevel Schema "
        "SearchResult Space SparseVector URI URIs Where WhereDocument validate_embedding_function validate_embeddings "
        "validate_ids validate_include validate_metadata validate_metadatas validate_n_results"
    ),
    "base_types": "LiteralValue Metadata SparseVector UpdateMetadata Vector Where WhereDocument",
    "config": "DEFAULT_DATABASE DEFAULT_TENANT Settings",
    "errors": "ChromaError DuplicateIDError InvalidDimensionException NotFoundError",
    "execution.expression": "And Eq GroupBy K Key Knn Limit MinK Rank Rrf Search SearchWhere Select Val Where",
    "execution.expression.operator": (
        "Abs Aggregate And Contains Div Eq Exp GroupBy Gt Gte In K Key Knn Limit Log Lt Lte Max MaxK Min MinK Mul Ne Nin "
        "NotContains NotRegex Or Rank Regex Rrf Select Sub Sum Val Where"
    ),
    "execution.expression.plan": "Search",
    "types": "Collection Database Metadata Tenant Where WhereDocument",
    "utils.batch_utils": "create_batches",
    "utils.data_loaders": "ImageLoader",
    "utils.embedding_functions": (
        "DefaultEmbeddingFunction EmbeddingFunction config_to_embedding_function known_embedding_functions "
        "register_embedding_function register_sparse_embedding_function"
    ),
    "utils.results": "get_result_to_df query_result_to_dfs",
}


@pytest.mark.parametrize("module", MODULES)
def test_modules_have_the_names_of_chromadb(module):
    ours = importlib.import_module(f"vermilion.{module}")
    theirs = None
    if importlib.util.find_spec("chromadb"):
        theirs = importlib.import_module(f"chromadb.{module}")
    for name in MODULES[module].split():
        assert getattr(ours, name) is not None
        assert theirs is None or hasattr(theirs, name), name


def test_modules_are_there_without_being_imported():
    program = f"import vermilion\nfor name in {sorted(MODULES)}:\n    eval(f'vermilion.{{name}}')"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_filters_can_be_written_as_functions(collection):
    operator = vermilion.execution.expression.operator
    add(collection, ids="a", metadatas={"k": 1}, documents="some text")
    found = {
        "Eq": operator.Eq("k", 1),
        "Gte": operator.Gte(key=operator.Key("k"), value=1),
        "In": operator.In("k", [1, 2]),
        "Contains": operator.Contains("#document", "text"),
        "And": operator.And([operator.Lt("k", 2), operator.Ne("k", 3)]),
    }
    for name, where in found.items():
        assert collection.get(where=where)["ids"] == ["a"], name
    assert collection.search(vermilion.Search(where=operator.Regex("#document", "t.xt")))["ids"] == [["a"]]


def test_records_are_cut_into_requests(client, monkeypatch):
    from vermilion.utils.batch_utils import create_batches

    monkeypatch.setattr(client, "get_max_batch_size", lambda: 2)
    ids, block = ["a", "b", "c"], np.eye(3)
    parts = create_batches(client, ids, embeddings=block, documents=ids)
    assert [part[0] for part in parts] == [["a", "b"], ["c"]] and parts[1][3] == ["c"]
    assert (parts[1][1] == block[2:]).all() and parts[0][2] is None
    assert create_batches(client, ids[:2]) == [(ids[:2], None, None, None)]


def test_numbers_that_chromadb_takes_are_taken(collection):
    add(collection, ids=["a", "b"], embeddings=[[1.0, 2.0], [3.0, 4.0]])
    assert collection.query(**QUERY, n_results=True)["ids"] == [["a"]]
    assert collection.get(limit=True)["ids"] == ["a"] and collection.get(offset=True)["ids"] == ["b"]
    add(collection, ids="c", embeddings=np.ma.masked_array(np.ones((1, 2), np.float32)))
    assert collection.count() == 3


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), np.float32("nan"), [1.0, float("nan")]])
def test_metadata_of_collections_is_of_finite_numbers(client, collection, value):
    with pytest.raises(ValueError, match="finite number, got .* under the key 'a'"):
        make(client, metadata={"a": value})
    with pytest.raises(ValueError, match="finite number"):
        collection.modify(metadata={"a": value})


def test_the_identity_in_process_is_that_of_chromadb(client):
    told = client.get_user_identity()
    assert (told.user_id, told.tenant, told.databases) == ("", "default_tenant", ["default_database"])
    assert told.attributes is None


def test_models_of_collections_tell_what_they_are(collection):
    model = collection.get_model()
    assert model.id == collection.id and model.name == model["name"] == collection.name
    assert model.configuration_json == collection.configuration_json
    model.configuration_json.clear()
    assert collection.configuration_json
    with pytest.raises(AttributeError, match="no 'colour'; it has id, name"):
        model.colour  # noqa: B018


def test_arguments_can_be_checked_beforehand():
    from vermilion.api import types

    assert types.validate_ids(["a", "b"]) == ["a", "b"]
    assert types.validate_metadata({"a": 1}) == {"a": 1} and types.validate_metadatas([{"a": 1}, None])
    assert types.validate_embeddings([np.ones(2)])[0].tolist() == [1.0, 1.0] and types.validate_n_results(3) == 3
    types.validate_include(["documents"])
    for call in (
        lambda: types.validate_ids(["a", "a"]),
        lambda: types.validate_ids([5]),
        lambda: types.validate_metadata({"a": object()}),
        lambda: types.validate_metadatas([{}]),
        lambda: types.validate_embeddings([[1.0], [2.0, 3.0]]),
        lambda: types.validate_n_results(0),
        lambda: types.validate_include(["distances"], ["distances"]),
        lambda: types.validate_embedding_function(one_argument),
    ):
        with pytest.raises(ValueError):
            call()


def test_functions_are_made_of_what_configurations_tell():
    from vermilion.utils import embedding_functions

    @embedding_functions.register_embedding_function()
    class Doubles(vermilion.EmbeddingFunction[vermilion.Documents]):
        def __init__(self, factor):
            self.factor = factor

        @staticmethod
        def name():
            return "doubles"

        @staticmethod
        def build_from_config(config):
            return Doubles(**config)

    made = embedding_functions.config_to_embedding_function({"name": "doubles", "config": {"factor": 2}})
    assert isinstance(made, Doubles) and made.factor == 2
    for config in ({}, {"name": "nobody"}):
        with pytest.raises(ValueError, match="Unsupported embedding function"):
            embedding_functions.config_to_embedding_function(config)
    with pytest.raises(ValueError, match="no static name"):
        embedding_functions.register_sparse_embedding_function(vermilion.SparseEmbeddingFunction)


# chromadb uses what pandas is going to remove.
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_answers_become_frames_as_with_chromadb(collection):
    pytest.importorskip("pandas")
    add(collection, ids=["a", "b"], embeddings=[[1.0, 2.0], [3.0, 4.0]], metadatas=[{"k": 1}, None], documents=["x", "y"])
    everything = ["embeddings", "documents", "metadatas"]
    found = collection.query(query_embeddings=[[1.0, 2.0], [3.0, 4.0]], include=[*everything, "distances"])
    packages = [importlib.import_module("vermilion.utils.results")]
    if importlib.util.find_spec("chromadb"):
        packages.append(importlib.import_module("chromadb.utils.results"))
    shown = []
    for package in packages:
        one, two = package.query_result_to_dfs(found)
        whole = package.get_result_to_df(collection.get(include=everything))
        assert list(two.index) == ["b", "a"] and list(one["document"]) == ["x", "y"]
        assert list(whole.columns) == ["embedding", "document", "metadata"] and list(whole["metadata"]) == [{"k": 1}, None]
        shown.append([sorted(frame.columns) for frame in (one, two, whole)])
        shown[-1].append([list(map(list, frame["embedding"])) for frame in (one, two, whole)])
    assert all(one == shown[0] for one in shown)


def test_images_are_loaded_from_files(client, tmp_path):
    image = pytest.importorskip("PIL.Image")
    from vermilion.utils.data_loaders import ImageLoader

    class Means(vermilion.EmbeddingFunction):
        def __call__(self, input):
            return [[float(one.mean()), 1.0] for one in input]

    for shade in (10, 200):
        image.fromarray(np.full((4, 4), shade, np.uint8)).save(tmp_path / f"{shade}.png")
    uris = [str(tmp_path / "10.png"), str(tmp_path / "200.png")]
    assert ImageLoader()([uris[0], None])[1] is None
    made = make(client, embedding_function=Means(), data_loader=ImageLoader(max_workers=2))
    made.add(ids=["a", "b"], uris=uris)
    assert made.get(include=["embeddings"])["embeddings"].tolist() == [[10.0, 1.0], [200.0, 1.0]]
    assert made.get(ids="b", include=["data"])["data"][0].shape == (4, 4)
    client.delete_collection(made.name)


def test_the_cloud_and_configured_settings_are_there_by_name():
    with pytest.raises(ValueError, match="use HttpClient"):
        vermilion.CloudClient(api_key="key")
    vermilion.configure(allow_reset=True)
    assert vermilion.get_settings() == Settings(allow_reset=True)
    vermilion.configure()
    assert vermilion.get_settings() == Settings()


def test_functions_say_what_they_take(client):
    class Lengths(vermilion.EmbeddingFunction[vermilion.Documents]):
        def __call__(self, input: vermilion.Documents) -> vermilion.Embeddings:
            return [[float(len(text))] for text in input]

    made = make(client, embedding_function=Lengths())
    made.add(ids="a", documents="abc")
    assert made.get(include=["embeddings"])["embeddings"].tolist() == [[3]]
    client.delete_collection(made.name)
