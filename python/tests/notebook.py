"""Runs notebooks without Jupyter, and writes what their cells show.

    python python/tests/notebook.py          # runs the notebooks of the guide, and keeps what they show

A cell shows what it prints, and its last expression as Python shows it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = [ROOT / "docs/guide/quickstart.ipynb"]


def shown(path: Path) -> list[list[dict[str, Any]]]:
    """The outputs of each cell of code, as notebooks keep them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    made = []
    for number, cell in enumerate(cells(path), 1):
        tree = ast.parse("".join(cell["source"]), f"{path.name}, cell {number}")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, f"{path.name}, cell {number}", "exec"), names)
            value = None
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"{path.name}, cell {number}", "eval"), names)
        outputs: list[dict[str, Any]] = []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            outputs.append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            text = repr(value).splitlines(keepends=True)
            data = {"text/plain": text}
            outputs.append(
                {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}
            )
        made.append(outputs)
    return made


def cells(path: Path) -> list[dict[str, Any]]:
    """The cells of code of a notebook."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in told["cells"] if cell["cell_type"] == "code"]


def refresh(path: Path) -> None:
    """Runs a notebook and keeps what it shows."""
    told = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in told["cells"] if cell["cell_type"] == "code"]
    for number, (cell, outputs) in enumerate(zip(code, shown(path), strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, outputs
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for one in NOTEBOOKS:
        refresh(one)
