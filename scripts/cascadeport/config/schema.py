"""Reads TOML files into pydantic models; every error is a line with its key."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_bytes
from cascadeport.base.suggest import suggest
from cascadeport.base.text import printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Strict(BaseModel):
    """A table whose unknown keys are errors and whose values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def as_tuple(value: Any) -> Any:
    """TOML's arrays are lists; values that never change are tuples."""
    return tuple(value) if isinstance(value, list) else value


def _as_float(value: Any) -> Any:
    # TOML distinguishes 58 from 58.0; for a mean or a threshold either will do.
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        raise ValueError("must be a number that a float can hold") from None


Number = Annotated[float, BeforeValidator(_as_float)]
"""A number with or without a decimal point."""


def _one_line(value: str) -> str:
    if printable(value) != value:
        raise ValueError("must not have control characters in it")
    return value


Line = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
"""A text that tables show."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LIMIT = 4 << 20
"""The largest TOML or compose file that is read, in bytes: thousands of classes fit."""
Table = TypeVar("Table", bound=BaseModel)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Reads a TOML file.

    Args:
        path: The file.
        what: What it is to the user, for the error: "model card".

    Raises:
        CascadeportError: The file is missing, not a regular file, too large, not text, or not
            TOML (with line and column).
    """
    content = read_bytes(path, what, limit=LIMIT)
    try:
        values: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
        return values
    except UnicodeDecodeError as error:
        raise CascadeportError(
            f"The {what} is not UTF-8 text.",
            where=f"{path}, byte {error.start}",
            next="Save it as UTF-8.",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise CascadeportError(
            f"The {what} is not valid TOML: {error}.",
            where=str(path),
            next="Fix that line.",
        ) from error
    except (ValueError, RecursionError) as error:
        # An integer of thousands of digits, or thousands of brackets within each other.
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CascadeportError(
            f"The {what} cannot be read: {reason}.", where=str(path), next="Check the file."
        ) from error


def validate(table: type[Table], values: Mapping[str, Any], *, where: str, what: str) -> Table:
    """Validates values against a schema.

    Raises:
        CascadeportError: With every error, each with its key, in `details`.
    """
    try:
        return table.model_validate(dict(values))
    except ValidationError as error:
        details = [_sentence(table, dict(found)) for found in error.errors()]
        raise CascadeportError(
            f"The {what} has {counted(details)}.", where=where, details=details
        ) from None


def counted(details: Sequence[str]) -> str:
    """How many errors there are, in words: `1 error`, `3 errors`."""
    return "1 error" if len(details) == 1 else f"{len(details)} errors"


def _sentence(table: type[BaseModel], error: dict[str, Any]) -> str:
    location: Sequence[str | int] = error["loc"]
    key = _key(location)
    if error["type"] == "extra_forbidden":
        known = _keys_at(table, location[:-1])
        return f"{key}: unknown key; {suggest(str(location[-1]), known)}"
    if error["type"] == "missing":
        return f"{key}: missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = error.get("input")
    if isinstance(given, (str, int, float, bool)):
        return f"{key}: {message} (it is {shortened(given)})"
    return f"{key}: {message}"


def shortened(value: Any, length: int = 80) -> str:
    """A value as Python writes it, cut where it would fill a screen."""
    if isinstance(value, int) and abs(value) >= 10**length:
        return f"an integer of more than {length} digits"
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}…"


def _key(location: Sequence[str | int]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text or "the file"


def _keys_at(table: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that the schema knows at a location; aliases stand for themselves."""
    current: type[BaseModel] = table
    for part in location:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part)
        if field is None:
            continue
        inner = _model_in(field.annotation)
        if inner is not None:
            current = inner
    return [field.alias or name for name, field in current.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (tuple, list, dict, typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            found = _model_in(argument)
            if found is not None:
                return found
    return None
