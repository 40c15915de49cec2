"""Notes in a LangChain vector store, which is `langchain-chroma` as it is, on a Vermilion server.

    python examples/frameworks/langchain_notes.py [--host localhost] [--port 8000]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import words
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings


class Words(Embeddings):
    """The embedding of the examples, as LangChain asks for one."""

    def embed_documents(self, texts):
        return [words.vector(text) for text in texts]

    def embed_query(self, text):
        return words.vector(text)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--collection", default="langchain-notes")
    asked = parser.parse_args(arguments)
    store = Chroma(
        asked.collection,
        Words(),
        host=asked.host,
        port=asked.port,
        collection_configuration={"hnsw": {"space": "cosine"}},
    )
    store.add_documents([Document(text, id=name, metadata={"kind": kind}) for name, text, kind in words.NOTES])

    def names(documents):
        return [document.id for document in documents]

    told = {
        "stored": sorted(store.get()["ids"]),
        "nearest": names(store.similarity_search("how to oil a bicycle chain", k=2)),
        "filtered": names(store.similarity_search("before the oven", k=5, filter={"kind": "garage"})),
        "containing": names(store.similarity_search("the", k=5, where_document={"$contains": "bicycle"})),
        "scores": [score for _, score in store.similarity_search_with_score(words.NOTES[0][1], k=1)],
        "diverse": names(store.max_marginal_relevance_search("bicycle", k=2, fetch_k=5)),
    }
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"kind": "travel"}})
    told["retrieved"] = names(retriever.invoke("when does it leave"))
    store.update_document("train", Document("The night train leaves at ten.", metadata={"kind": "travel"}))
    told["updated"] = store.get("train")["documents"]
    store.delete(["chain", "tyres"])
    told["left"] = sorted(store.get()["ids"])
    return told


if __name__ == "__main__":
    for name, found in main().items():
        print(f"{name}: {found}")
