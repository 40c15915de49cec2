"""The reference of the package, docs/reference/python.md, made of its docstrings and signatures.

    python python/tests/reference.py          # writes the page

It is read from the sources, without importing them, so that every Python makes the same page.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/python.md"
SOURCES = ROOT / "python/vermilion"

#: The modules that users meet, in the order of the page.
MODULES = {
    "client": "Clients",
    "collection": "Collections",
    "aio": "Asynchronous clients",
    "config": "Settings",
    "search": "Ranked searches",
    "schema": "Schemas",
    "embedding_functions": "Embedding functions",
    "ingest": "Reports of bulk calls",
    "curation/connection": "Curation",
    "curation/session": "Sessions of curation",
    "curation/space": "Spaces of curation",
    "curation/upkeep": "Upkeep of spaces of curation",
    "curation/lease": "Leases of retrainings",
    "curation/answers": "Answers of curation",
    "types": "Types",
    "errors": "Errors",
}
#: Of modules that are mostly not for users: what is.
ONLY = {
    "ingest": ("Report",),
    "config": ("Settings", "TokenTransportHeader", "configure", "get_settings"),
    "curation/connection": ("Curation", "connect"),
    "curation/space": ("Space",),
}
#: What marks the constructor of a class as none of the user's.
MADE_ELSEWHERE = ("_transport", "transport:", "client:", "(connection: Connection)", "Connection, name:", "Connection, claimed:", "about:")

HEAD = """# Reference of the Python package

This page is made of the docstrings in `python/vermilion` by `python/tests/reference.py`; a test keeps it true. How the parts go
together is in [the guide](../guide/python.md).
"""

_SECTION = re.compile(r"^(Args|Raises|Returns|Attributes):$")
_ENTRY = re.compile(r"^(\*?[\w, ]+): (.*)$")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for module, title in MODULES.items():
        tree = ast.parse((SOURCES / f"{module}.py").read_text(encoding="utf-8"))
        lines = (SOURCES / f"{module}.py").read_text(encoding="utf-8").splitlines()
        parts.append(f"## {title}\n\n{text(ast.get_docstring(tree) or '')}")
        for node in tree.body:
            parts.extend(member(node, module, lines))
    return "\n".join(parts)


def is_public(name: str) -> bool:
    return not name.startswith("_")


def member(node: ast.stmt, module: str, lines: list[str]) -> list[str]:
    """What the page says of a statement of a module."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        if not is_public(node.name) or node.name not in ONLY.get(module, (node.name,)):
            return []
        return of_class(node, lines) if isinstance(node, ast.ClassDef) else [of_function(node, "###")]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        if node.targets[0].id in public_names():
            return [f"- `{node.targets[0].id} = {ast.unparse(node.value)}`"]
    return []


def public_names() -> set[str]:
    """What `vermilion` itself has: the table in its `__init__`."""
    tree = ast.parse((SOURCES / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MODULES":
            return set(" ".join(ast.literal_eval(node.value).values()).split())
    raise AssertionError("vermilion/__init__.py has no table of names")


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, bound: bool) -> str:
    arguments = ast.unparse(node.args)
    if bound:
        arguments = re.sub(r"^(self|cls)(, |$)", "", arguments)
    answer = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{node.name}({arguments}){answer}"


def of_function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, heading: str, bound: bool = False, owner: str = ""
) -> str:
    awaited = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    if any(ast.unparse(mark) == "property" for mark in node.decorator_list):
        shown = f"{node.name}: {ast.unparse(node.returns)}" if node.returns else node.name
    else:
        shown = awaited + signature(node, bound)
    told = text(ast.get_docstring(node) or "")
    name = f"{owner}.{node.name}" if owner else node.name
    return f"{heading} `{name}`\n\n```python\n{shown}\n```\n\n{told}"


def of_class(node: ast.ClassDef, lines: list[str]) -> list[str]:
    bases = ", ".join(ast.unparse(one) for one in node.bases)
    parts = [f"### class `{node.name}`\n"]
    if bases:
        parts.append(f"A kind of `{bases}`.\n")
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            made = signature(one, True).replace("__init__", node.name).removesuffix(" -> None")
            if not any(mark in made for mark in MADE_ELSEWHERE):
                parts.append(f"```python\n{made}\n```\n")
    parts.append(text(ast.get_docstring(node) or ""))
    named = [told for one in node.body if (told := of_attribute(one, lines))]
    if named:
        parts.append("\n".join(named) + "\n")
    awaited = [one.targets[0].id for one in node.body if is_awaited(one)]
    if awaited:
        listed = ", ".join(f"`{name}`" for name in awaited)
        parts.append(f"Awaited, and otherwise as there: {listed}.\n")
    for one in node.body:
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(one.name):
            if ast.get_docstring(one):
                plain = any(ast.unparse(mark) == "staticmethod" for mark in one.decorator_list)
                parts.append(of_function(one, "####", not plain, node.name))
    return parts


def is_awaited(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "_awaited"
    )


def of_attribute(node: ast.stmt, lines: list[str]) -> str | None:
    """An attribute with the comment above it that begins with `#:`."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        name, kind = node.target.id, f": {ast.unparse(node.annotation)}"
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name, kind = node.targets[0].id, f" = {ast.unparse(node.value)}"
    else:
        return None
    if not is_public(name) or is_awaited(node):
        return None
    told: list[str] = []
    row = node.lineno - 2
    while row >= 0 and lines[row].strip().startswith("#:"):
        told.insert(0, lines[row].strip()[2:].strip())
        row -= 1
    comment = f": {marks(' '.join(told))}" if told else ""
    return f"- `{name}{kind}`{comment}"


def marks(line: str) -> str:
    """The marks of docstrings as those of Markdown."""
    line = re.sub(r":\w+:`([^`]+)`", r"`\1`", line)
    return line.replace("``", "`")


def text(docstring: str) -> str:
    """A docstring as Markdown: sections become lists, what is indented becomes code."""
    made: list[str] = []
    section, code = "", False
    for line in docstring.splitlines():
        found = _SECTION.match(line)
        indented = line.startswith("    ")
        if code and (found or (line.strip() and not indented)):
            while not made[-1]:
                made.pop()
            made.extend(["```", ""])
            code = False
        if found:
            section = found.group(1)
            made.append(f"{section}:\n")
        elif section == "Returns" and indented:
            made.append(marks(line.strip()))
        elif section and indented:
            entry = _ENTRY.match(line[4:])
            if entry and not line.startswith("     "):
                made.append(f"- `{entry.group(1)}`: {marks(entry.group(2))}")
            else:
                made.append(f"  {marks(line.strip())}")
        elif indented:
            if not code:
                made.append("```python")
                code = True
            made.append(line[4:])
        else:
            if line.strip():
                section = ""
            made.append(marks(line))
    if code:
        made.append("```")
    return "\n".join(made).rstrip() + "\n"


def undocumented() -> list[str]:
    """Public names of these modules without a docstring."""
    missing = []
    for module in MODULES:
        tree = ast.parse((SOURCES / f"{module}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if not is_public(node.name) or node.name not in ONLY.get(module, (node.name,)):
                continue
            if not ast.get_docstring(node):
                missing.append(f"{module}.{node.name}")
            if isinstance(node, ast.ClassDef) and module.startswith(("client", "collection", "curation/")):
                for one in node.body:
                    if isinstance(one, ast.FunctionDef) and is_public(one.name):
                        if not ast.get_docstring(one):
                            missing.append(f"{module}.{node.name}.{one.name}")
    return missing


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
