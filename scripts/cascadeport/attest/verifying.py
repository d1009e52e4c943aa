"""verify: is a row what somebody signed, and do its files give the numbers that were signed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport.attest import dsse, keys, rows, statement, subjects
from cascadeport.attest.keys import PublicKey
from cascadeport.attest.signing import STATEMENT
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.datasets import Dataset
from cascadeport.evaluation.agreement import TOLERANCE
from cascadeport.results.differences import differences
from cascadeport.results.result import Result

_REMEDY = "Get the folder again from whoever signed it, or run the target and sign it yourself."
_SHOWN = 10


class UnverifiedError(CascadeportError):
    """A folder is not what was signed."""

    exit_code = ExitCode.UNVERIFIED


@dataclass(frozen=True)
class Verified:
    """A row that is what was signed.

    Args:
        folder: The row's folder.
        key: The key that signed it.
        result: What its files give when computed again.
        statement: The statement.
        elsewhere: What the statement names by a digest that was compared with the row's records
            only: neither the folder nor the data set has it.
    """

    folder: Path
    key: PublicKey
    result: Result
    statement: statement.Statement
    elsewhere: tuple[str, ...]

    @property
    def signed(self) -> dict[str, Any]:
        """When it was signed by the signer's clock, with which key, and whether it was forced."""
        return dict(self.statement["predicate"][statement.OWN]["signed"])


def verify(
    folder: Path, key: Path | Sequence[PublicKey], *, dataset: Dataset | None = None
) -> Verified:
    """Checks a row's signature and files, and computes its numbers again from the detections.

    Args:
        folder: results/<model>-<data>/<row>.
        key: A public key in OpenSSH's format or a file of allowed signers; or keys.
        dataset: The row's data set; None: it is where it was.

    Raises:
        UnverifiedError: It is unsigned, signed by another key, or not what was signed; with every
            difference that was found.
        CascadeportError: A key or the data set cannot be read.
    """
    folder = folder.resolve()
    rows.check_folder(folder)
    trusted = keys.load_public(key) if isinstance(key, Path) else tuple(key)
    signed, opened = _opened(folder, trusted)
    _refuse_changed(folder, signed)
    try:
        result, dataset = rows.compute(folder, dataset)
    except CascadeportError as error:
        raise _unverified(error) from error
    again = statement.of(result, folder, dataset.annotations_path)
    _refuse(folder, "What its files give is not what was signed.", _otherwise(signed, again))
    return Verified(
        folder=folder,
        key=opened.key,
        result=result,
        statement=signed,
        elsewhere=tuple(one["name"] for one in signed["subject"] if subjects.is_elsewhere(one)),
    )


def state(folder: Path) -> str:
    """Whether a row is signed, without knowing whom to trust and without computing it again.

    Returns:
        `unsigned`, `signed by SHA256:…`, or `invalid: …` with the reason: the signature is not
        that of the key which the statement names, or a file has changed since.
    """
    path = folder / STATEMENT
    if not path.exists():
        return "unsigned"
    try:
        envelope = dsse.read(path)
        said = statement.decoded(envelope.payload, str(path))
        line = str(said["predicate"][statement.OWN]["signed"]["key"])
        opened = dsse.opened(
            envelope, statement.PAYLOAD_TYPE, [keys.parse_public(line, str(path))], str(path)
        )
        _refuse_changed(folder, said)
    except CascadeportError as error:
        return f"invalid: {' '.join([error.what.rstrip('.'), *error.details[:1]])}"
    except (KeyError, TypeError):
        return "invalid: the statement does not name the key that signed it"
    return f"signed by {opened.key.fingerprint}"


def _opened(folder: Path, trusted: Sequence[PublicKey]) -> tuple[statement.Statement, dsse.Opened]:
    path = folder / STATEMENT
    if not path.exists():
        raise UnverifiedError(
            "The folder is unsigned: it has no statement.",
            where=str(path),
            next="Sign it with `cascadeport attest --key FILE`, if it is yours.",
        )
    try:
        opened = dsse.opened(dsse.read(path), statement.PAYLOAD_TYPE, trusted, str(path))
        return statement.decoded(opened.payload, str(path)), opened
    except CascadeportError as error:
        raise _unverified(error) from error


def _refuse_changed(folder: Path, signed: statement.Statement) -> None:
    """Compares every file that was signed with what it is now."""
    found = []
    for subject in signed["subject"]:
        if not subjects.is_file(subject):
            continue
        path = folder / subject["name"]
        if folder.resolve() not in path.resolve().parents:
            found.append(f"{subject['name']} is not in the folder")
        elif not path.is_file():
            found.append(f"{subject['name']} is missing")
        elif digest.of_file(path) != subject["digest"].get(subjects.SHA256):
            found.append(f"{subject['name']} has other content")
    _refuse(folder, "Files are not what was signed.", found)


def _otherwise(signed: statement.Statement, again: statement.Statement) -> list[str]:
    """What the statement says and the files do not: what was measured first."""
    said, found = (one["predicate"][statement.OWN] for one in (signed, again))
    return [
        *differences(_comparable(said), _comparable(found)),
        *_numbers(said["accuracy"]["stats"], found["accuracy"]["stats"]),
        *differences(_around(signed), _around(again)),
    ]


def _comparable(own: Mapping[str, Any]) -> dict[str, Any]:
    # The evaluators may have other versions here; the numbers are compared with a tolerance.
    accuracy = {
        key: value for key, value in own["accuracy"].items() if key not in ("stats", "evaluators")
    }
    return {**{key: value for key, value in own.items() if key != "signed"}, "accuracy": accuracy}


def _numbers(said: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The accuracies that differ by more than two versions of an evaluator may."""
    return [
        f"accuracy.stats.{name} is {said.get(name)}, not {value}"
        for name, value in found.items()
        if said.get(name) != value
        and (None in (said.get(name), value) or not abs(said[name] - value) <= TOLERANCE)
    ]


def _around(one: statement.Statement) -> statement.Statement:
    predicate = {key: value for key, value in one["predicate"].items() if key != statement.OWN}
    return {**one, "predicate": predicate}


def _refuse(folder: Path, what: str, found: Sequence[str]) -> None:
    if not found:
        return
    shown = list(found[:_SHOWN])
    if len(found) > _SHOWN:
        shown.append(f"and {len(found) - _SHOWN} more")
    raise UnverifiedError(what, where=str(folder), details=shown, next=_REMEDY)


def _unverified(error: CascadeportError) -> UnverifiedError:
    return UnverifiedError(error.what, where=error.where, details=error.details, next=error.next)
