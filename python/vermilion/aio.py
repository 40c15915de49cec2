"""The asynchronous client: the synchronous one, each call on a thread.

The calls spend their time waiting for a server, without the interpreter's lock, so that many run at once.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from vermilion.client import AdminAPI, ClientAPI
from vermilion.collection import Collection

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def _awaited(
    method: Callable[Concatenate[Any, Parameters], Answer],
) -> Callable[Concatenate[Any, Parameters], Coroutine[Any, Any, Any]]:
    """``method`` of what is wrapped, on a thread; collections that it answers are wrapped in turn."""

    @functools.wraps(method)
    async def call(self: Any, *args: Parameters.args, **named: Parameters.kwargs) -> Any:
        answer = await asyncio.to_thread(functools.partial(method, self._wrapped, *args, **named))
        if isinstance(answer, list):
            return [_wrap(one) for one in answer]
        return _wrap(answer)

    return call


def _wrap(answer: Any) -> Any:
    return AsyncCollection(answer) if isinstance(answer, Collection) else answer


class _Wrapper:
    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        # Attributes are the wrapped one's; its methods are awaited, and listed below.
        return getattr(self._wrapped, name)

    def __repr__(self) -> str:
        return f"Async{self._wrapped!r}"


class AsyncCollection(_Wrapper):
    """A :class:`vermilion.Collection` whose methods are awaited."""

    count = _awaited(Collection.count)
    add = _awaited(Collection.add)
    upsert = _awaited(Collection.upsert)
    update = _awaited(Collection.update)
    get = _awaited(Collection.get)
    peek = _awaited(Collection.peek)
    query = _awaited(Collection.query)
    search = _awaited(Collection.search)
    delete = _awaited(Collection.delete)
    modify = _awaited(Collection.modify)
    ingest = _awaited(Collection.ingest)
    export = _awaited(Collection.export)
    to_arrow = _awaited(Collection.to_arrow)
    to_polars = _awaited(Collection.to_polars)
    to_pandas = _awaited(Collection.to_pandas)
    fork = _awaited(Collection.fork)
    fork_count = _awaited(Collection.fork_count)
    attach_function = _awaited(Collection.attach_function)
    get_attached_function = _awaited(Collection.get_attached_function)
    detach_function = _awaited(Collection.detach_function)
    get_indexing_status = _awaited(Collection.get_indexing_status)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncCollection) and self._wrapped == other._wrapped

    def __hash__(self) -> int:
        return hash(self._wrapped)


class AsyncClientAPI(_Wrapper):
    """A client whose methods are awaited; made by :func:`vermilion.AsyncHttpClient`."""

    create_tenant = _awaited(AdminAPI.create_tenant)
    get_tenant = _awaited(AdminAPI.get_tenant)
    create_database = _awaited(AdminAPI.create_database)
    get_database = _awaited(AdminAPI.get_database)
    delete_database = _awaited(AdminAPI.delete_database)
    list_databases = _awaited(AdminAPI.list_databases)
    set_tenant = _awaited(ClientAPI.set_tenant)
    set_database = _awaited(ClientAPI.set_database)
    heartbeat = _awaited(ClientAPI.heartbeat)
    get_version = _awaited(ClientAPI.get_version)
    get_max_batch_size = _awaited(ClientAPI.get_max_batch_size)
    get_user_identity = _awaited(ClientAPI.get_user_identity)
    reset = _awaited(ClientAPI.reset)
    list_collections = _awaited(ClientAPI.list_collections)
    count_collections = _awaited(ClientAPI.count_collections)
    create_collection = _awaited(ClientAPI.create_collection)
    get_or_create_collection = _awaited(ClientAPI.get_or_create_collection)
    get_collection = _awaited(ClientAPI.get_collection)
    get_collection_by_id = _awaited(ClientAPI.get_collection_by_id)
    delete_collection = _awaited(ClientAPI.delete_collection)
    close = _awaited(AdminAPI.close)

    async def __aenter__(self) -> AsyncClientAPI:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()
