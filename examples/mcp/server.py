"""A server of the Model Context Protocol, by which an assistant keeps and finds notes in a Vermilion server.

    python examples/mcp/server.py [--host localhost] [--port 8000] [--embedding default]

It speaks over its standard input and output, as programs that start such servers expect.
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

import vermilion
from vermilion.embedding_functions import DefaultEmbeddingFunction
from vermilion.errors import ChromaError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

#: Records in one answer at most.
LIMIT = 50


class Words(vermilion.EmbeddingFunction):
    """The embedding of the examples, which needs no model."""

    def __call__(self, input):
        import words

        return [words.vector(text) for text in input]

    @staticmethod
    def name():
        return "words"

    @staticmethod
    def build_from_config(config):
        return Words()

    def get_config(self):
        return {}


def explained(tool: Any) -> Any:
    """The same tool, whose refusals reach the assistant in their own words."""

    @functools.wraps(tool)
    def call(*given: Any, **named: Any) -> Any:
        try:
            return tool(*given, **named)
        except (ChromaError, ValueError) as error:
            raise ToolError(str(error)) from error

    return call


def serve(client: Any, embedding: Any) -> MCPServer:
    """The server of the protocol, with its tools."""
    server = MCPServer("vermilion", instructions="Collections of texts that are searched by their meaning.")

    @server.tool()
    @explained
    def list_collections() -> list[dict[str, Any]]:
        """The collections that there are, and how many texts each has."""
        return [{"name": one.name, "records": one.count()} for one in client.list_collections()]

    @server.tool()
    @explained
    def add(
        collection: str, ids: list[str], documents: list[str], metadatas: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Stores texts under ids in a collection, which is made where it is not there; an id that is there is replaced."""
        kept = client.get_or_create_collection(
            collection, embedding_function=embedding, configuration={"hnsw": {"space": "cosine"}}
        )
        kept.upsert(ids, documents=documents, metadatas=metadatas)
        return {"stored": len(ids), "records": kept.count()}

    @server.tool()
    @explained
    def search(
        collection: str, text: str, limit: int = 5, where: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The texts of a collection that are nearest to `text`, the nearest first.

        `where` filters by metadata, as in {"kind": "kitchen"} or {"year": {"$gte": 2020}}.
        """
        if not 1 <= limit <= LIMIT:
            raise ValueError(f"limit is {limit}; from 1 to {LIMIT} are allowed")
        kept = client.get_collection(collection, embedding_function=embedding)
        found = kept.query(query_texts=[text], n_results=limit, where=where)
        columns = zip(found["ids"][0], found["documents"][0], found["metadatas"][0], found["distances"][0])
        names = ("id", "document", "metadata", "distance")
        return [dict(zip(names, record)) for record in columns]

    @server.tool()
    @explained
    def delete(collection: str, ids: list[str]) -> dict[str, Any]:
        """Removes the texts with these ids from a collection."""
        kept = client.get_collection(collection, embedding_function=embedding)
        kept.delete(ids)
        return {"records": kept.count()}

    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--embedding", choices=["default", "words"], default="default", help="the model, or shared words")
    asked = parser.parse_args()
    embedding = Words() if asked.embedding == "words" else DefaultEmbeddingFunction()
    with vermilion.HttpClient(asked.host, asked.port) as client:
        serve(client, embedding).run("stdio")


if __name__ == "__main__":
    main()
