"""The reference page is that of the docstrings, and everything public has one."""

import ast

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


def test_names_are_exported_where_checkers_of_types_see_them():
    homes = set(vermilion._HOMES)
    assert vermilion.__all__ == sorted(homes | {"__version__"})
    source = (reference.SOURCES / "__init__.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    listed = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    assert ast.literal_eval(listed[0]) == vermilion.__all__
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {}
    for node in branch.body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vermilion"):
            imported.update({one.name: (node.module, one.asname) for one in node.names})
    assert {name: f"vermilion.{home}" for name, home in vermilion._HOMES.items()} == {
        name: module for name, (module, _) in imported.items() if name in homes
    }
    # Modules are exported by being named twice.
    assert set(imported) - homes == set(vermilion._PARTS)
    assert all(imported[name] == ("vermilion", name) for name in vermilion._PARTS)
    for name in vermilion.__all__:
        assert getattr(vermilion, name) is not None


def test_docstrings_become_markdown():
    made = reference.text("What :meth:`x` does with ``y``.\n\n    code()\n\nArgs:\n    a: First,\n        and more.\n\nReturns:\n    A ``z``.")
    assert made == "What `x` does with `y`.\n\n```python\ncode()\n```\n\nArgs:\n\n- `a`: First,\n  and more.\n\nReturns:\n\nA `z`.\n"
