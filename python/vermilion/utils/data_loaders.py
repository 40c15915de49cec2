"""Where programs for chromadb look for what loads the data of uris."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vermilion.errors import InvalidArgumentError

__all__ = ["ImageLoader"]


class ImageLoader:
    """Loads images from files, as arrays; for ``data_loader=``. It needs Pillow.

    Args:
        max_workers: How many files are read at once; as many as there are processors where not given.

    Raises:
        InvalidArgumentError: Pillow is not installed. Also a ``ValueError``.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        try:
            from PIL import Image
        except ImportError as error:
            raise InvalidArgumentError("Images need Pillow, which is not installed: pip install pillow") from error
        self._open = Image.open
        self._max_workers = max_workers or os.cpu_count() or 1

    def __call__(self, uris: Sequence[str | None]) -> list[Any]:
        """The image of each uri, which is the path of a file; None where there is no uri."""
        with ThreadPoolExecutor(self._max_workers) as threads:
            return list(threads.map(self._load, uris))

    def _load(self, uri: str | None) -> Any:
        import numpy as np

        if uri is None:
            return None
        with self._open(uri) as image:
            return np.array(image)
