"""Notes in a LlamaIndex vector store, which is `llama-index-vector-stores-chroma` as it is, on a Vermilion server.

    python examples/frameworks/llama_index_notes.py [--host localhost] [--port 8000]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import chromadb
import words
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.vector_stores.chroma import ChromaVectorStore


class Words(BaseEmbedding):
    """The embedding of the examples, as LlamaIndex asks for one."""

    def _get_text_embedding(self, text):
        return words.vector(text)

    def _get_query_embedding(self, query):
        return words.vector(query)

    async def _aget_query_embedding(self, query):
        return words.vector(query)


def node(name, text, kind):
    source = RelatedNodeInfo(node_id=f"{kind}.txt")
    # What a node says about itself is not made part of the text that is embedded.
    return TextNode(
        id_=name,
        text=text,
        metadata={"kind": kind, "letters": len(text)},
        excluded_embed_metadata_keys=["kind", "letters"],
        relationships={NodeRelationship.SOURCE: source},
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--collection", default="llama-index-notes")
    asked = parser.parse_args(arguments)
    client = chromadb.HttpClient(asked.host, asked.port)
    collection = client.get_or_create_collection(asked.collection, embedding_function=None)
    store = ChromaVectorStore(chroma_collection=collection)
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex([node(*note) for note in words.NOTES], storage_context=context, embed_model=Words())

    def nearest(text, count, *filters):
        retriever = index.as_retriever(similarity_top_k=count, filters=MetadataFilters(filters=list(filters)))
        return [found.node.node_id for found in retriever.retrieve(text)]

    told = {
        "stored": sorted(collection.get()["ids"]),
        "nearest": nearest("how to oil a bicycle chain", 2),
        "filtered": nearest("before the oven", 5, MetadataFilter(key="kind", value="garage")),
        "compared": nearest("the", 5, MetadataFilter(key="letters", operator=FilterOperator.LT, value=48)),
    }
    index.insert_nodes([node("knives", "Sharpen the knives once a month.", "kitchen")])
    told["inserted"] = nearest("sharpen knives", 1)
    index.delete_ref_doc("garage.txt")
    told["left"] = sorted(collection.get()["ids"])
    store.delete_nodes(["bread"])
    told["at last"] = sorted(collection.get()["ids"])
    return told


if __name__ == "__main__":
    for name, found in main().items():
        print(f"{name}: {found}")
