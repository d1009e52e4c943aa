"""JSON schemas of the files that users write and programs read, made from their pydantic models.

Editors that know them check a card while it is written: `#:schema` on its first line names one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cascadeport import backends
from cascadeport.base.files import write_text
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import cards
from cascadeport.explain.record import Explanation
from cascadeport.results.comparison import Comparison
from cascadeport.results.result import Result
from cascadeport.tune.record import Frontier

FOLDER = REPOSITORY / "docs" / "schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every schema, by its file's stem."""
    return {
        "card": _card(),
        "targets": _targets(),
        "result": _written(Result, "One target's result: result.json"),
        "comparison": _written(Comparison, "All results of a model on a data set: comparison.json"),
        "frontier": _written(Frontier, "What a search of the fastest found: frontier.json"),
        "explanation": _written(Explanation, "Why two rows differ: explain-A-B.json"),
    }


def files(folder: Path = FOLDER) -> dict[Path, str]:
    """The files' contents, by path."""
    return {
        folder / f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in all_schemas().items()
    }


def write(folder: Path = FOLDER) -> None:
    """Writes the schemas."""
    for path, text in files(folder).items():
        write_text(path, text)
        print(path)


def _written(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The schema of a file that this program writes: every key is there."""
    schema = model.model_json_schema(mode="serialization")
    return {"$schema": _DIALECT, **schema, "title": title}


def _card() -> dict[str, Any]:
    schema = {"$schema": _DIALECT, **cards.Contents.model_json_schema(), "title": "A model card"}
    # A list of classes may be in a file of its own, which is read before the card is validated.
    written = schema["properties"]["classes"]
    named = {"type": "string", "description": "A file that holds the list, from the card's folder."}
    schema["properties"]["classes"] = {"anyOf": [written, named]}
    return schema


def _targets() -> dict[str, Any]:
    """targets.toml: the keys of a row are those of its backend."""
    rows = {name: backends.row(name) for name in backends.names()}
    references, definitions = models_json_schema([(row, "validation") for row in rows.values()])
    found = definitions["$defs"]
    for name, row in rows.items():
        key = references[row, "validation"]["$ref"].rsplit("/", 1)[-1]
        found[key]["properties"]["backend"] = {"const": name, "title": "Backend"}
    return {
        "$schema": _DIALECT,
        "title": "The targets: targets.toml",
        "type": "object",
        "properties": {"$schema": {"type": "string"}},
        "additionalProperties": {
            "oneOf": [references[row, "validation"] for row in rows.values()],
        },
        "$defs": found,
    }
