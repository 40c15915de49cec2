"""Notes in a Haystack document store, which is `chroma-haystack` as it is, on a Vermilion server.

    python examples/frameworks/haystack_notes.py [--host localhost] [--port 8000]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import words
from haystack import Document, Pipeline, component
from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever
from haystack_integrations.document_stores.chroma import ChromaDocumentStore


@component
class Words:
    """The embedding of the examples, as a component of a pipeline."""

    @component.output_types(embedding=list[float])
    def run(self, text: str):
        return {"embedding": words.vector(text)}


def is_kind(kind):
    return {"field": "meta.kind", "operator": "==", "value": kind}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--collection", default="haystack-notes")
    asked = parser.parse_args(arguments)
    store = ChromaDocumentStore(asked.collection, host=asked.host, port=asked.port, distance_function="cosine")
    notes = [
        Document(id=name, content=text, meta={"kind": kind}, embedding=words.vector(text))
        for name, text, kind in words.NOTES
    ]
    told = {"written": store.write_documents(notes), "stored": store.count_documents()}
    search = Pipeline()
    search.add_component("words", Words())
    search.add_component("retriever", ChromaEmbeddingRetriever(store))
    search.connect("words.embedding", "retriever.query_embedding")

    def nearest(text, count, filters=None):
        given = {"words": {"text": text}, "retriever": {"top_k": count, "filters": filters}}
        return [document.id for document in search.run(given)["retriever"]["documents"]]

    told["nearest"] = nearest("how to oil a bicycle chain", 2)
    told["filtered"] = nearest("before the oven", 5, is_kind("garage"))
    either = {"operator": "OR", "conditions": [is_kind("travel"), is_kind("garage")]}
    told["either"] = sorted(document.id for document in store.filter_documents(either))
    store.delete_documents(["chain", "tyres"])
    told["left"] = sorted(document.id for document in store.filter_documents())
    return told


if __name__ == "__main__":
    for name, found in main().items():
        print(f"{name}: {found}")
