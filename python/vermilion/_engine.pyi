"""The native part of the package; :mod:`vermilion.transport` is what uses it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

class Engine:
    def __init__(self, path: str | None = None) -> None: ...
    @property
    def max_batch_size(self) -> int: ...
    def close(self) -> None: ...
    def heartbeat(self) -> int: ...
    def call(self, operation: str, names: list[str], body: bytes) -> bytes: ...
    def ask(
        self,
        method: str,
        path: str,
        form: str | None = None,
        body: bytes | None = None,
        take: Callable[[bytes], Any] | None = None,
    ) -> tuple[int, str, bytes]: ...
    def write(
        self,
        names: tuple[str, str, str],
        operation: str,
        columns: dict[str, Any],
        embeddings: NDArray[np.float32] | None,
    ) -> tuple[int, int]: ...
    def get(self, names: tuple[str, str, str], body: bytes) -> dict[str, Any]: ...
    def query(
        self, names: tuple[str, str, str], queries: NDArray[np.float32], body: bytes
    ) -> list[dict[str, Any]]: ...

class Model:
    def __init__(self, folder: str) -> None: ...
    def embed(self, texts: list[str], threads: int) -> NDArray[np.float32]: ...
    def tokens(self, text: str) -> list[int]: ...
