"""What a model gives each class: probabilities and logits, as a number for each class or for some by name.

What must stay true: probabilities are judged as they are sent, rounded, and as the server judges them (``scores``
in ``crates/curation/src/check.rs``); blocks of numbers are judged by NumPy, so that a large batch costs no loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vermilion.curation.values import is_missing, not_finite, number, wrong

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Digits that numbers of the model keep behind the point.
_DIGITS = 7
#: Numbers from here on are left as they are: they have no digits there, and rounding may overflow.
_ROUNDED_BELOW = 1e15
#: How far probabilities may be from a sum of 1.
_SUM_TOLERANCE = 1e-2
_ALLOWED = f"numbers from 0 to 1 with the sum 1, give or take {_SUM_TOLERANCE}; `logits` are taken too"


def column(name: str, listed: list[Any], given: Any, class_names: list[str] | None) -> list[Any]:
    """The scores of every record, None where it has none; ``given`` is what ``listed`` was made of."""
    block = _block(given)
    if block is not None and len(block) == len(listed):
        return _dense(name, block, 0, class_names)
    return [_scores(name, row, value, class_names) for row, value in enumerate(listed)]


def _block(given: Any) -> NDArray[np.float64] | None:
    """Rows of as many numbers each; None where it is something else, which is then read value by value."""
    import numpy as np

    try:
        block = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return block if block.ndim == 2 else None


def _scores(name: str, row: int, value: Any, class_names: list[str] | None) -> Any:
    import numpy as np

    if is_missing(value):
        return None
    if isinstance(value, dict):
        return _sparse(name, row, value)
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise wrong(f"{value!r} has no number for each class.", name, row, "lists of numbers, or dictionaries")
    block = _block([value])
    if block is None:
        numbers = [number(name, row, one) for one in value]
        if None in numbers:
            raise wrong("A class has no number.", name, row, "finite numbers")
        block = np.asarray([numbers], dtype=np.float64)
    return _dense(name, block, row, class_names)[0]


def _dense(name: str, block: NDArray[np.float64], first: int, class_names: list[str] | None) -> list[list[float]]:
    """Records from the number ``first`` on, with a number for each class."""
    import numpy as np

    classes = block.shape[1]
    if classes == 0:
        raise wrong(f"`{name}` of record {first} names no class.", name, first, reason="length_mismatch")
    if class_names is not None and len(class_names) != classes:
        message = f"`{name}` of record {first} has {classes} numbers, `class_names` {len(class_names)}."
        raise wrong(message, name, first, reason="length_mismatch")
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        at = int(np.argmin(finite))
        if np.isnan(block[at]).any():
            raise wrong("A class has no number.", name, first + at, "finite numbers")
        raise not_finite(name, first + at)
    with np.errstate(over="ignore"):
        block = np.where(np.abs(block) < _ROUNDED_BELOW, np.round(block, _DIGITS), block)
    if name == "probabilities":
        sums, least = block.sum(axis=1), block.min(axis=1)
        sound = (np.abs(sums - 1.0) <= _SUM_TOLERANCE) & (least >= -_SUM_TOLERANCE)
        if not sound.all():
            at = int(np.argmin(sound))
            raise _no_distribution(first + at, float(sums[at]), float(least[at]))
    found: list[list[float]] = block.tolist()
    return found


def _sparse(name: str, row: int, value: dict[Any, Any]) -> dict[str, float]:
    """Some classes by name: the others may have the rest of the sum."""
    found = {}
    for key, one in value.items():
        score = number(name, row, one)
        if score is None:
            raise wrong(f"The class `{key}` has no number.", name, row, "finite numbers")
        found[str(key)] = score
    if not found:
        raise wrong(f"`{name}` of record {row} names no class.", name, row, reason="length_mismatch")
    if name == "probabilities":
        total, least = sum(found.values()), min(found.values())
        if not 0.0 < total <= 1.0 + _SUM_TOLERANCE or least < -_SUM_TOLERANCE:
            raise _no_distribution(row, total, least)
    return found


def _no_distribution(row: int, total: float, least: float) -> Exception:
    if least < -_SUM_TOLERANCE:
        message = f"A probability of record {row} is {least}."
    else:
        message = f"The probabilities of record {row} sum to {total}."
    return wrong(message, "probabilities", row, _ALLOWED, "probabilities_do_not_sum")
