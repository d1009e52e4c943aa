"""attest: states what was measured, and signs it."""

from __future__ import annotations

import time
from pathlib import Path

from cascadeport.attest import dsse, keys, rows, statement
from cascadeport.base.errors import CascadeportError
from cascadeport.datasets import Dataset

STATEMENT = "statement.dsse.json"
"""The name of the signed statement in a row's folder."""


def attest(folder: Path, key: Path, *, force: bool = False, dataset: Dataset | None = None) -> Path:
    """Computes a row again, by both evaluators, and signs a statement about it.

    Args:
        folder: results/<model>-<data>/<row>.
        key: An OpenSSH Ed25519 private key. A passphrase is asked for on the terminal.
        force: Sign an invalid row as well; its statement then says that it is, and why.
        dataset: The row's data set; None: it is where it was.

    Returns:
        The signed statement.

    Raises:
        CascadeportError: The row is invalid, or the key or a file cannot be used.
    """
    folder = folder.resolve()
    rows.check_folder(folder)
    # First: a passphrase is not asked for after minutes.
    signing = keys.load_private(key)
    result, dataset = rows.compute(folder, dataset)
    if result.status == "invalid" and not force:
        raise CascadeportError(
            f"The result is INVALID, and no statement is made about it: {result.reason}.",
            where=str(folder),
            next="Run the target again. --force signs a statement that says so.",
        )
    made = statement.of(result, folder, dataset.annotations_path)
    made["predicate"][statement.OWN]["signed"] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "key": signing.public.line,
        "forced": result.status == "invalid",
    }
    path = folder / STATEMENT
    dsse.write(path, statement.PAYLOAD_TYPE, statement.encoded(made), signing)
    return path
