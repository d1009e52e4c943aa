"""DSSE, the Dead Simple Signing Envelope: a payload, its type, and signatures over both.

The format is that of github.com/secure-systems-lab/dsse (protocol.md, envelope.md), version 1.0.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from cascadeport.attest.keys import PublicKey, SigningKey
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_text
from cascadeport.base.reading import RECORD_LIMIT, read_bytes

_REMEDY = "Sign it again, or get an unaltered copy from whoever signed it."


class _Signature(BaseModel):
    model_config = ConfigDict(frozen=True)

    keyid: str = ""
    sig: Base64Bytes


class Envelope(BaseModel):
    """A signed payload. Nothing in it is to be believed before `opened`.

    Args:
        payloadType: What the payload is, a media type.
        payload: The payload; base64 in the file.
        signatures: At least one.
    """

    model_config = ConfigDict(frozen=True)

    payloadType: str  # noqa: N815  the name in the file
    payload: Base64Bytes
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1)]

    @property
    def signers(self) -> tuple[str, ...]:
        """The keys that it says it was signed with, by fingerprint."""
        return tuple(one.keyid or "a key without a name" for one in self.signatures)


@dataclass(frozen=True)
class Opened:
    """A payload whose signature was checked, and the key that made it."""

    payload: bytes
    key: PublicKey


def encoded(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def write(path: Path, payload_type: str, payload: bytes, key: SigningKey) -> None:
    """Signs a payload and writes its envelope."""
    envelope = {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode("ascii"),
        "signatures": [
            {
                "keyid": key.public.fingerprint,
                "sig": base64.b64encode(key.sign(encoded(payload_type, payload))).decode("ascii"),
            }
        ],
    }
    write_text(path, json.dumps(envelope, indent=1) + "\n")


def read(path: Path) -> Envelope:
    """Reads an envelope. Its signatures are not checked here.

    Raises:
        CascadeportError: It cannot be read, or is no envelope.
    """
    content = read_bytes(path, "signed statement", limit=RECORD_LIMIT, next=_REMEDY)
    try:
        return Envelope.model_validate_json(content)
    except ValidationError as error:
        raise CascadeportError(
            "The signed statement is no DSSE envelope.",
            where=str(path),
            details=[
                f"{'.'.join(map(str, found['loc'])) or 'the file'}: {found['msg'].lower()}"
                for found in error.errors(include_url=False)[:5]
            ],
            next=_REMEDY,
        ) from None


def opened(envelope: Envelope, payload_type: str, keys: Sequence[PublicKey], where: str) -> Opened:
    """Checks an envelope's signatures.

    Args:
        payload_type: What its payload has to be.
        keys: The keys that are trusted. One signature by one of them is enough.
        where: Its path, for errors.

    Raises:
        CascadeportError: No signature is by a trusted key, or the payload was altered.
    """
    signed = encoded(envelope.payloadType, envelope.payload)
    for key in keys:
        for signature in envelope.signatures:
            if key.verifies(signature.sig, signed):
                if envelope.payloadType != payload_type:
                    raise CascadeportError(
                        f"The signed statement is about something else: {envelope.payloadType}.",
                        where=where,
                        next=f"A statement of this program has the type {payload_type}.",
                    )
                return Opened(envelope.payload, key)
    trusted = {key.fingerprint for key in keys}
    if trusted & set(envelope.signers):
        raise CascadeportError(
            "The signature does not fit the statement: one of the two was altered.",
            where=f"{where}: it names the key {', '.join(sorted(trusted & set(envelope.signers)))}",
            next=_REMEDY,
        )
    raise CascadeportError(
        f"The statement was signed by another key: {', '.join(envelope.signers)}, not "
        f"{', '.join(sorted(trusted))}.",
        where=where,
        next="Give the public key of whoever signed it, if you trust it.",
    )
