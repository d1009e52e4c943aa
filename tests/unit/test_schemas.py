"""The JSON schemas: editors find every key that cards and targets may have, and no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cascadeport.cli import schemas
from cascadeport.config import cards
from cascadeport.results.result import Result

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Schema = Mapping[str, Any]


def _alternatives(schema: Schema, root: Schema) -> Iterator[Schema]:
    """What a value may be, references followed."""
    if "$ref" in schema:
        yield from _alternatives(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
        return
    inner = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ())]
    for one in inner:
        yield from _alternatives(one, root)
    if not inner:
        yield schema


def unknown(value: Any, schema: Schema, root: Schema, path: str = "") -> list[str]:
    """The keys and values of a document that no alternative of a schema has."""
    found: list[list[str]] = []
    for one in _alternatives(schema, root):
        if isinstance(value, dict):
            if one.get("type") == "object":
                found.append(_of_table(value, one, root, path))
        elif isinstance(value, list):
            if one.get("type") == "array":
                items = [*one.get("prefixItems", ()), one.get("items", {})]
                each = zip(value, items, strict=False) if "prefixItems" in one else None
                pairs = each or ((item, items[0]) for item in value)
                found.append([x for item, sub in pairs for x in unknown(item, sub, root, path)])
        elif "const" in one or "enum" in one:
            allowed = one.get("enum", [one.get("const")])
            found.append([] if value in allowed else [f"{path}: {value}"])
        elif one.get("type") not in ("object", "array", "null"):
            found.append([])
    return min(found, key=len) if found else [f"{path}: {value!r}"]


def _of_table(value: Mapping[str, Any], schema: Schema, root: Schema, path: str) -> list[str]:
    wrong = [f"{path}.{key} missing" for key in schema.get("required", ()) if key not in value]
    for key, item in value.items():
        below = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
        if below is False:
            wrong.append(f"{path}.{key}")
        else:
            wrong += unknown(item, below, root, f"{path}.{key}")
    return wrong


CARD = schemas.all_schemas()["card"]
TARGETS = schemas.all_schemas()["targets"]


def test_every_card_of_this_project_obeys_the_schema(repository: Path) -> None:
    found = sorted((repository / "models").glob("*.toml"))
    assert found
    for path in found:
        assert unknown(tomllib.loads(path.read_text(encoding="utf-8")), CARD, CARD) == []


def test_the_list_of_targets_obeys_the_schema(repository: Path) -> None:
    values = tomllib.loads((repository / "targets.toml").read_text(encoding="utf-8"))
    assert unknown(values, TARGETS, TARGETS) == []


@pytest.mark.parametrize("table", ["", "input", "output", "checkpoint"])
def test_a_mistyped_key_is_none_of_the_schema(repository: Path, table: str) -> None:
    path = repository / "models" / "cascade_r101_dcn.toml"
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    (values.setdefault(table, {}) if table else values)["chanels"] = "rgb"
    assert [each.rsplit(".", 1)[-1] for each in unknown(values, CARD, CARD)] == ["chanels"]


def test_a_row_has_the_keys_of_its_own_backend_only(repository: Path) -> None:
    values = tomllib.loads((repository / "targets.toml").read_text(encoding="utf-8"))
    values["cpu"]["soc"] = "Ascend310"
    assert unknown(values, TARGETS, TARGETS) == [".cpu.soc"]
    values = {"310": {**values["310"], "backend": "nothing"}}
    assert unknown(values, TARGETS, TARGETS)


def test_classes_may_be_a_list_or_a_file() -> None:
    kinds = {one["type"] for one in _alternatives(CARD["properties"]["classes"], CARD)}
    assert kinds == {"array", "string"}


def test_keys_are_those_of_the_models() -> None:
    assert set(CARD["properties"]) == set(cards.Contents.model_fields)
    result = schemas.all_schemas()["result"]
    assert set(result["properties"]) == set(Result.model_fields) - {"folder"}


def test_they_are_written_to_a_folder(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "card.json",
        "targets.json",
        "result.json",
        "comparison.json",
        "explanation.json",
        "frontier.json",
    }
