"""The native part of the package; :mod:`vermilion.transport` is what uses it."""

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
