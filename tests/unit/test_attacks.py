"""docs/attacks.md: every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_NAMED = re.compile(r"`((?:unit|integration)/test_\w+\.py)::(test_\w+)`")


def test_every_test_of_the_list_exists(repository: Path) -> None:
    named = _NAMED.findall((repository / "docs" / "attacks.md").read_text(encoding="utf-8"))
    assert len(named) > 60
    found = {}
    for file in {file for file, _ in named}:
        tree = ast.parse((repository / "tests" / file).read_text(encoding="utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        found[file] = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
    assert [one for one in named if one[1] not in found[one[0]]] == []
