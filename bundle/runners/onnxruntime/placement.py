"""Where onnxruntime really ran a network's nodes, from its own profile of one picture.

A session gives every node that its provider has no kernel for to the CPU, and only its log says
so. The outputs are right then, but the speed is not the device's.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections import Counter
from typing import Any, List, Tuple
from typing import Counter as CounterType

from bundle.errors import BundleError

# The operators that do nearly all of a detector's arithmetic, by the names that they have after
# onnxruntime has fused nodes. Cheap ones (shapes, NMS) may run on the CPU beside the device.
EXPENSIVE = frozenset(
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
_NODE_SUFFIX = "_kernel_time"


class Placement:
    """Profiles the first picture of a session, and no other.

    Args:
        options: The session's options, before the session is created.
        provider: The provider that was requested.

    Attributes:
        problems: One sentence if expensive nodes ran on another provider.
        close: Removes the profile. Call it when there will be no more pictures.
    """

    def __init__(self, options: Any, provider: str) -> None:
        self._provider = provider
        folder = tempfile.mkdtemp(prefix="cascadeport-profile-")
        # Runs as well when a session is dropped before its first picture, and when Python exits.
        self.close = weakref.finalize(self, shutil.rmtree, folder, True)
        options.enable_profiling = True
        options.profile_file_prefix = "{}/profile".format(folder)
        self.problems: List[str] = []

    def check(self, session: Any) -> None:
        """Stops profiling and reads the profile into `problems`. Does so only once.

        Raises:
            BundleError: The profile cannot be read, so it is unknown where the nodes ran.
        """
        if not self.close.alive:
            return
        try:
            self.problems = find_problems(session.end_profiling(), self._provider)
        finally:
            self.close()


def find_problems(profile: str, provider: str) -> List[str]:
    """Looks for expensive nodes that did not run on `provider`.

    Args:
        profile: The file that onnxruntime wrote.
        provider: The provider that was requested.

    Returns:
        One sentence about all such nodes; nothing if there are none.

    Raises:
        BundleError: The file cannot be read, or lists no nodes.
    """
    try:
        with open(profile, encoding="utf-8") as stream:
            events = json.load(stream)
        nodes = [
            (event["args"]["op_name"], event["args"]["provider"])
            for event in events
            if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_NODE_SUFFIX)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise _unusable(profile, "{}: {}".format(type(failure).__name__, failure)) from None
    if not nodes:
        raise _unusable(profile, "it lists no nodes")
    elsewhere: CounterType[Tuple[str, str]] = Counter(
        (name, used) for name, used in nodes if name in EXPENSIVE and used != provider
    )
    if not elsewhere:
        return []
    total = sum(name in EXPENSIVE for name, _ in nodes)
    return [
        "{} of the {} expensive nodes did not run on {}: {}".format(
            sum(elsewhere.values()),
            total,
            provider,
            ", ".join(
                "{} {} on {}".format(count, name, used)
                for (name, used), count in sorted(elsewhere.items())
            ),
        )
    ]


def _unusable(profile: str, why: str) -> BundleError:
    return BundleError(
        "onnxruntime's profile of the first picture is unusable: {}.".format(why),
        profile,
        "It says on which device the nodes ran. Check that temporary files can be written "
        "(TMPDIR).",
    )
