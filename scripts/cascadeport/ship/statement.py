"""The signed statement about a run (cascadeport.attest), as far as freezing needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cascadeport import attest
from cascadeport.datasets import Dataset
from cascadeport.ship import signature

UNSIGNED = "unsigned"


@dataclass(frozen=True)
class Signed:
    """The statement of a run.

    Args:
        state: `unsigned`, `signed by SHA256:…` or `invalid: …`.
        path: Its file; None: there is none.
    """

    state: str
    path: Path | None


def of(folder: Path, key: Path | None, dataset: Dataset, *, force: bool) -> Signed:
    """The statement of a run; with a key it is written and signed first.

    A statement that this key has signed already, and that still holds, stays: it says when it was
    signed, and freezing again must not change what is frozen.

    Args:
        folder: results/<model>-<data>/<row>.
        key: An OpenSSH Ed25519 private key.
        dataset: What the run was about.
        force: Sign the statement of an invalid run as well; it says that it is.

    Raises:
        CascadeportError: The key cannot be used, or the run is invalid and nobody insists.
    """
    state = attest.state(folder)
    if key is not None and state != f"signed by {signature.fingerprint(key)}":
        attest.attest(folder, key, force=force, dataset=dataset)
        state = attest.state(folder)
    path = folder / attest.STATEMENT
    return Signed(state, path if path.is_file() else None)
