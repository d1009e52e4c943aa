"""Where onnxruntime really ran a network's nodes, read from its own profile of one picture.

A session that was asked for a provider hands every node that the provider has no kernel for to the
CPU, and says so only in its log. The answers are right then, and the speed is not the device's.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections import Counter
from typing import Any, List, Tuple
from typing import Counter as Counted

from bundle.errors import BundleError

# Operators that hold nearly all of a detector's arithmetic, under the names that they have after
# onnxruntime fused them. Small ones (shapes, NMS) may run beside the device.
HEAVY = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "DeformConv",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gemm",
        "MatMul",
    }
)
_ENDING = "_kernel_time"


class Placement:
    """Profiles the first picture of a session, then no more.

    Args:
        options: The session's options, before the session is made.
        provider: The provider that was asked for.

    Attributes:
        problems: What ran elsewhere, a sentence each.
        close: Removes the profile; call it when no picture will come.
    """

    def __init__(self, options: Any, provider: str) -> None:
        self._provider = provider
        folder = tempfile.mkdtemp(prefix="cascadeport-profile-")
        # Also when a session is dropped before its first picture, and when Python ends.
        self.close = weakref.finalize(self, shutil.rmtree, folder, True)
        options.enable_profiling = True
        options.profile_file_prefix = "{}/profile".format(folder)
        self.problems: List[str] = []

    def check(self, session: Any) -> None:
        """Ends the profile and reads it, once; `problems` says what ran elsewhere.

        Raises:
            BundleError: There is no profile, so nobody knows where the nodes ran.
        """
        if not self.close.alive:
            return
        try:
            self.problems = problems(session.end_profiling(), self._provider)
        finally:
            self.close()


def problems(profile: str, provider: str) -> List[str]:
    """Says which heavy nodes ran elsewhere than on `provider`; empty when none did.

    Args:
        profile: The file that onnxruntime wrote.
        provider: The provider that was asked for.

    Raises:
        BundleError: The file cannot be read, or tells of no node.
    """
    try:
        with open(profile, encoding="utf-8") as stream:
            events = json.load(stream)
        ran = [
            (event["args"]["op_name"], event["args"]["provider"])
            for event in events
            if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_ENDING)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise _unknown(profile, "{}: {}".format(type(failure).__name__, failure)) from None
    if not ran:
        raise _unknown(profile, "it tells of no node")
    elsewhere: Counted[Tuple[str, str]] = Counter(
        (name, where) for name, where in ran if name in HEAVY and where != provider
    )
    if not elsewhere:
        return []
    total = sum(name in HEAVY for name, _ in ran)
    return [
        "{} of the {} heavy nodes did not run on {}: {}".format(
            sum(elsewhere.values()),
            total,
            provider,
            ", ".join(
                "{} {} on {}".format(count, name, where)
                for (name, where), count in sorted(elsewhere.items())
            ),
        )
    ]


def _unknown(profile: str, why: str) -> BundleError:
    return BundleError(
        "onnxruntime's profile of the first picture cannot be used: {}.".format(why),
        profile,
        "It tells on which device the nodes ran. Temporary files must be writable (TMPDIR).",
    )
