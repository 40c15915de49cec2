"""How the server is asked: without what was left out, and again until it knows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

#: Seconds between the first two questions, and between two at most.
_PAUSES = 0.05, 1.0


def said(asked: dict[str, Any]) -> dict[str, Any]:
    """What was said of ``asked``: None says nothing."""
    return {name: value for name, value in asked.items() if value is not None}


def tries(seconds: float) -> Iterator[None]:
    """A turn at once, and more of them with growing pauses for so many seconds."""
    pause, longest = _PAUSES
    end = time.monotonic() + seconds
    yield
    while time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * 2, longest)
        yield
