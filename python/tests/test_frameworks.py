"""The examples for frameworks against the real server: the official integrations as they are, and a server of the
Model Context Protocol with a real client over its standard input and output."""

import asyncio
import importlib.util
import os
import sys

import pytest
from conftest import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(monkeypatch, server):
    """Runs an example of a framework against the server; answers what it found, and a client to look with."""
    monkeypatch.setenv("ANONYMIZED_TELEMETRY", "False")
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(name, package):
        pytest.importorskip(package)
        found = importlib.util.spec_from_file_location(name, EXAMPLES / f"frameworks/{name}.py")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        where = ["--host", server.host, "--port", str(server.port), "--collection", name]
        told = module.main(where)
        with server.client() as client:
            left = sorted(client.get_collection(name, embedding_function=None).get()["ids"])
            client.delete_collection(name)
        return told, left

    return run


ALL = ["bread", "chain", "lentils", "train", "tyres"]


def test_langchain_keeps_finds_and_deletes_documents(run):
    told, left = run("langchain_notes", "langchain_chroma")
    assert told["stored"] == ALL
    assert told["nearest"][0] == "chain" and len(told["nearest"]) == 2
    assert sorted(told["filtered"]) == ["chain", "tyres"]
    assert sorted(told["containing"]) == ["chain", "tyres"]
    assert told["scores"] == [pytest.approx(0, abs=1e-5)]
    assert len(set(told["diverse"])) == 2 and told["diverse"][0] in ("chain", "tyres")
    assert told["retrieved"] == ["train"]
    assert told["updated"] == ["The night train leaves at ten."]
    assert told["left"] == left == ["bread", "lentils", "train"]


def test_llama_index_keeps_finds_and_deletes_nodes(run):
    told, left = run("llama_index_notes", "llama_index.vector_stores.chroma")
    assert told["stored"] == ALL
    assert told["nearest"][0] == "chain" and len(told["nearest"]) == 2
    assert sorted(told["filtered"]) == ["chain", "tyres"]
    assert sorted(told["compared"]) == ["chain", "train", "tyres"]
    assert told["inserted"] == ["knives"]
    assert told["left"] == ["bread", "knives", "lentils", "train"]
    assert told["at last"] == left == ["knives", "lentils", "train"]


def test_haystack_keeps_finds_and_deletes_documents(run):
    told, left = run("haystack_notes", "haystack_integrations.document_stores.chroma")
    assert told["written"] == told["stored"] == 5
    assert told["nearest"][0] == "chain" and len(told["nearest"]) == 2
    assert sorted(told["filtered"]) == ["chain", "tyres"]
    assert told["either"] == ["chain", "train", "tyres"]
    assert told["left"] == left == ["bread", "lentils", "train"]


@pytest.fixture
def ask(server):
    """Calls tools of the example's server of the protocol, one after the other in one session."""
    mcp = pytest.importorskip("mcp.client")
    stdio = pytest.importorskip("mcp.client.stdio")
    where = [str(EXAMPLES / "mcp/server.py"), "--host", server.host, "--port", str(server.port)]
    path = os.pathsep.join([str(ROOT / "python"), os.environ.get("PYTHONPATH", "")])
    parameters = stdio.StdioServerParameters(
        command=sys.executable, args=[*where, "--embedding", "words"], env={"PYTHONPATH": path}
    )

    def ask(*calls):
        async def all_of_them():
            async with mcp.Client(stdio.stdio_client(parameters)) as client:
                tools = (await client.list_tools()).tools
                answers = [await client.call_tool(name, given) for name, given in calls]
                return {tool.name: tool.input_schema for tool in tools}, answers

        return asyncio.run(asyncio.wait_for(all_of_them(), 60))

    return ask


def test_an_assistant_keeps_finds_and_deletes_texts(ask, server):
    sys.path.insert(0, str(EXAMPLES))
    try:
        from words import NOTES
    finally:
        sys.path.remove(str(EXAMPLES))
    ids, texts, kinds = (list(column) for column in zip(*NOTES))
    metadatas = [{"kind": kind} for kind in kinds]
    name = "assistant-notes"
    tools, answers = ask(
        ("add", {"collection": name, "ids": ids, "documents": texts, "metadatas": metadatas}),
        ("list_collections", {}),
        ("search", {"collection": name, "text": "how to oil a bicycle chain", "limit": 2}),
        ("search", {"collection": name, "text": "before the oven", "where": {"kind": "garage"}}),
        ("delete", {"collection": name, "ids": ["chain"]}),
        ("search", {"collection": name, "text": "how to oil a bicycle chain", "limit": 1}),
        ("search", {"collection": "no such collection", "text": "oil"}),
        ("search", {"collection": name, "text": "oil", "limit": 0}),
    )
    assert set(tools) == {"list_collections", "add", "search", "delete"}
    assert set(tools["search"]["required"]) == {"collection", "text"}
    *good, missing, refused = answers
    assert not any(answer.is_error for answer in good)
    added, listed, nearest, filtered, deleted, again = (answer.structured_content for answer in good)
    assert added == {"stored": 5, "records": 5}
    assert {"name": name, "records": 5} in listed["result"]
    assert nearest["result"][0]["id"] == "chain" and len(nearest["result"]) == 2
    assert nearest["result"][0]["document"] == texts[ids.index("chain")]
    assert nearest["result"][0]["metadata"] == {"kind": "garage"}
    assert nearest["result"][0]["distance"] <= nearest["result"][1]["distance"]
    assert {record["id"] for record in filtered["result"]} == {"chain", "tyres"}
    assert deleted == {"records": 4}
    assert again["result"][0]["id"] != "chain"
    assert missing.is_error and "no such collection" in missing.content[0].text
    assert refused.is_error and "from 1 to 50 are allowed" in refused.content[0].text
    with server.client() as client:
        kept = client.get_collection(name, embedding_function=None)
        assert sorted(kept.get()["ids"]) == sorted(set(ids) - {"chain"})
        client.delete_collection(name)
