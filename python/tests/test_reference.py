"""The reference page is that of the docstrings, and everything public has one."""

import reference

import vermilion


def test_the_page_is_what_the_docstrings_say():
    written = reference.PAGE.read_text(encoding="utf-8")
    assert written == reference.page(), "run python/tests/reference.py"


def test_every_public_name_is_on_the_page_and_documented():
    page = reference.page()
    shown = ("### class `{}`", "### `{}`", "- `{} = ")
    missing = [name for name in reference.public_names() if not any(one.format(name) in page for one in shown)]
    # Aliases that differ between checkers of types and programs stand in a branch.
    assert set(missing) <= {"Embeddings"}
    assert reference.public_names() | {"__version__"} == set(vermilion.__all__)
    assert reference.undocumented() == []


def test_docstrings_become_markdown():
    made = reference.text("What :meth:`x` does with ``y``.\n\n    code()\n\nArgs:\n    a: First,\n        and more.\n\nReturns:\n    A ``z``.")
    assert made == "What `x` does with `y`.\n\n```python\ncode()\n```\n\nArgs:\n\n- `a`: First,\n  and more.\n\nReturns:\n\nA `z`.\n"
