"""Where onnxruntime really ran a network's nodes, from its own profile of one picture.

A session gives every node that its provider has no kernel for to the CPU, and only its log says
so. The outputs are right then, but the speed is not the device's.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import weakref
from collections import Counter
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple
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


class Node(NamedTuple):
    """A node of a profile: its operator, the provider that ran it, and its milliseconds."""

    operator: str
    provider: str
    milliseconds: float


class Placement:
    """Profiles the first picture of a session, and no other.

    Args:
        options: The session's options, before the session is created.
        provider: The provider that was requested.

    Attributes:
        nodes: How many nodes ran where, and for how long, by provider; empty before the first
            picture.
        problems: One sentence if expensive nodes ran on another provider.
        first: To be held while the first picture runs.
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
        self.nodes: Dict[str, Dict[str, float]] = {}
        # Held while the first picture runs: a profile ends when nothing else runs in the session.
        self.first = threading.Lock()

    @property
    def is_pending(self) -> bool:
        """Whether the first picture is still to come."""
        return bool(self.close.alive)

    def check(self, session: Any) -> None:
        """Stops profiling and reads the profile into `problems`. Does so only once.

        Raises:
            BundleError: The profile cannot be read, so it is unknown where the nodes ran.
        """
        if not self.is_pending:
            return
        try:
            nodes = read_nodes(session.end_profiling())
            self.nodes = count_nodes(nodes)
            self.problems = find_problems(nodes, self._provider)
        finally:
            self.close()


def read_nodes(profile: str) -> List[Node]:
    """Reads the nodes of a profile.

    Args:
        profile: The file that onnxruntime wrote.

    Raises:
        BundleError: The file cannot be read, or lists no nodes.
    """
    try:
        with open(profile, encoding="utf-8") as stream:
            events = json.load(stream)
        nodes = [
            Node(event["args"]["op_name"], event["args"]["provider"], event["dur"] / 1000.0)
            for event in events
            if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_NODE_SUFFIX)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise _unusable(profile, "{}: {}".format(type(failure).__name__, failure)) from None
    if not nodes:
        raise _unusable(profile, "it lists no nodes")
    return nodes


def count_nodes(nodes: Sequence[Node]) -> Dict[str, Dict[str, float]]:
    """How many nodes ran on each provider, and their milliseconds: `{"nodes", "ms"}`."""
    counted: Dict[str, Dict[str, float]] = {}
    for node in nodes:
        one = counted.setdefault(node.provider, {"nodes": 0, "ms": 0.0})
        one["nodes"] += 1
        one["ms"] += node.milliseconds
    return {
        provider: {"nodes": int(one["nodes"]), "ms": round(one["ms"], 3)}
        for provider, one in sorted(counted.items())
    }


def find_problems(nodes: Sequence[Node], provider: str) -> List[str]:
    """Looks for expensive nodes that did not run on `provider`.

    Args:
        nodes: What ran where.
        provider: The provider that was requested.

    Returns:
        One sentence about all such nodes; nothing if there are none.
    """
    elsewhere: CounterType[Tuple[str, str]] = Counter(
        (node.operator, node.provider)
        for node in nodes
        if node.operator in EXPENSIVE and node.provider != provider
    )
    if not elsewhere:
        return []
    total = sum(node.operator in EXPENSIVE for node in nodes)
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
