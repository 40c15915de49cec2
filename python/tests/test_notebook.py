"""The notebooks of the guide run as they stand, and show what is kept in them."""

import json

import notebook
import pytest


@pytest.mark.parametrize("path", notebook.NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_show_what_is_kept_in_them(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = [cell["outputs"] for cell in notebook.cells(path)]
    assert kept == notebook.shown(path), "run python/tests/notebook.py"
    assert any(kept)
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in whole["cells"]]
    assert len(set(ids)) == len(ids)
