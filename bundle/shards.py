"""Shares pictures among several processes that know nothing of each other.

Picture k (from 0) of the sorted list belongs to shard `k % n + 1`, so that all shards get pictures
from everywhere in the list. Which pictures a shard gets depends on the list and on n, nothing else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import List, Mapping, Sequence, TypeVar

from bundle.errors import BundleError

# Where Kubernetes says which of a job's completions this is, from 0.
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
# Where a service of Docker Swarm says it, if it is created with `--env CASCADEPORT_SLOT=
# {{.Task.Slot}}`. It counts from 0, too, but has no text for slot 0 and gives the node's id instead
# (docker/swarmkit, template/context.go): 25 letters and digits.
SLOT_VARIABLE = "CASCADEPORT_SLOT"
_NODE_ID = re.compile(r"[0-9a-z]{25}\Z")
_MAX_SHARDS = 100000
_T = TypeVar("_T")


@dataclass(frozen=True, order=True)
class Shard:
    """One of several shares: `index` counts from 1 to `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return "{}/{}".format(self.index, self.count)

    @property
    def suffix(self) -> str:
        """What is appended to names of its files: nothing where there is only one shard."""
        return ".{}-of-{}".format(self.index, self.count) if self.count > 1 else ""

    @property
    def folder(self) -> str:
        """The name of the folder of a shard's results."""
        return "shard-{}-of-{}".format(self.index, self.count)

    def take(self, items: Sequence[_T]) -> List[_T]:
        """This shard's share of the sorted list."""
        return list(items[self.index - 1 :: self.count])


ALL = Shard(1, 1)


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Understands `--shard`: `i/n` with i from 1 to n; `/n` takes i from the environment.

    Raises:
        BundleError: It is neither, or the variable is not set or not one of the n.
    """
    found = re.match(r"(\d{0,6})/(\d{1,6})\Z", text, re.ASCII)
    if not found:
        raise _error("'{}' is not a shard.".format(text))
    index, count = found.groups()
    if not index:
        index = str(_from(environment) + 1)
    shard = Shard(int(index), int(count))
    if not 1 <= shard.count <= _MAX_SHARDS or not 1 <= shard.index <= shard.count:
        raise _error("There is no shard {}.".format(shard))
    return shard


def _from(environment: Mapping[str, str]) -> int:
    """Which of all it is, from 0, as the environment says."""
    slot = environment.get(SLOT_VARIABLE)
    name = INDEX_VARIABLE if slot is None else SLOT_VARIABLE
    index = environment.get(name, "")
    if name == SLOT_VARIABLE and _NODE_ID.match(index):
        return 0
    if not re.match(r"\d{1,6}\Z", index, re.ASCII):
        raise _error("{} is '{}', not a number.".format(name, index))
    return int(index)


def _error(what: str) -> BundleError:
    return BundleError(
        what,
        "--shard",
        "Write i/n with i from 1 to n, such as 2/5, or /5 where {} counts from 0.".format(
            INDEX_VARIABLE
        ),
    )
