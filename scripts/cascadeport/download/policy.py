"""How often and how long a download is tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How often and how long a download is tried.

    Args:
        attempts: Failures in a row, without progress between them, after which an address is
            given up.
        progress_bytes: New bytes that count as progress.
        backoff_s: The wait after the first failure; it doubles with each further one.
        longest_wait_s: No wait is longer, whatever the server asks for.
        connect_s: How long a connection may take to be made.
        stall_s: How long a transfer may move fewer than `stall_bytes`.
        stall_bytes: See there.
        redirects: How many are followed.
    """

    attempts: int = 5
    progress_bytes: int = 1 << 20
    backoff_s: float = 1.0
    longest_wait_s: float = 60.0
    connect_s: float = 15.0
    stall_s: float = 30.0
    stall_bytes: int = 4096
    redirects: int = 5
