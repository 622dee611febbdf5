"""No log line above debug is given a contact."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {"info", "warning", "error", "critical", "exception", "log"}
CONTACTS = {"contact", "key", "user_id"}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that log above debug."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            owner = node.func.value
            if (owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")) in ("logger", "log"):
                yield node


def named(call: ast.Call) -> set[str]:
    """What the arguments of a call are made of, but for what a hash is taken of."""
    hashed = {
        inner
        for node in ast.walk(call)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash_of"
        for inner in ast.walk(node)
    }
    names = [node for node in ast.walk(call) if node not in hashed]
    return {node.id for node in names if isinstance(node, ast.Name)} | {
        node.attr for node in names if isinstance(node, ast.Attribute)
    }


def test_no_line_above_debug_names_a_contact() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for folder in ("streams", "actions")
        for path in sorted((ROOT / folder).rglob("*.py"))
        # the keys of definitions are ids of rules
        if path.name != "rulebook.py"
        for call in calls(ast.parse(path.read_text("utf-8")))
        if named(call) & CONTACTS
    ]
    assert found == []
