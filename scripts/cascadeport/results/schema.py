"""The base of the records in this package: JSON files with a `format`, checked when read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_record
from cascadeport.config.schema import shortened

_SHOWN = 10


class Record(BaseModel):
    """A table of a record. Keys that a later version added to the same format are kept."""

    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, protected_namespaces=()
    )


RecordT = TypeVar("RecordT", bound=Record)


def read(path: Path, schema: type[RecordT], what: str) -> RecordT:
    """Reads and checks a record.

    Args:
        path: The file.
        schema: Its table, with a `format` whose default is the format that is read.
        what: What it is to the user, for errors: "result".

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    remedy = f"Run the target again; it writes a new {path.name}."
    values = read_record(path, what, next=remedy)
    found, expected = values.get("format"), schema.model_fields["format"].default
    if found != expected:
        raise CascadeportError(
            f"The {what} is in format {shortened(found)}; this version reads format {expected}.",
            where=str(path),
            next=remedy,
        )
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        details = [
            f"{'.'.join(map(str, entry['loc']))}: {entry['msg'].lower()}"
            for entry in error.errors(include_url=False)[:_SHOWN]
        ]
        raise CascadeportError(
            f"The {what} is not valid.", where=str(path), details=details, next=remedy
        ) from None
