"""Signed statements about rows: what was measured, on what, and who says so. docs/attest.md.

dsse.py       the envelope: what is signed, and how
keys.py       OpenSSH Ed25519 keys
subjects.py   what a statement is about: files and digests
statement.py  the in-toto statement of a row
rows.py       a row computed afresh, by both evaluators
signing.py    attest
verifying.py  verify, state
"""

from cascadeport.attest.signing import STATEMENT, attest
from cascadeport.attest.verifying import Verified, state, verify

__all__ = ["STATEMENT", "Verified", "attest", "state", "verify"]
