"""Two nodes of a Docker Swarm, each with a device that takes a quarter of a second, against one.

The nodes are Docker Engines in network namespaces of this machine; their device sleeps, so that it
leaves the processor free. What is measured is what shards cost: the same pictures in one shard on
one node, and in two shards on two. Needs root, docker.io, docker-registry, busybox and iproute2.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "scripts")]

from tests.helpers import command, slow_device, swarm_nodes  # noqa: E402
from tests.helpers.swarm_world import World  # noqa: E402

PICTURES, SECONDS, TARGET = 480, 0.25, 1.9


def measured(world: World, name: str, shards: int) -> dict[str, Any]:
    """The result of a run of all pictures."""
    done = world.run(world.swarm_line(name, shards=shards))
    if done.returncode not in command.FINISHED:
        raise SystemExit(done.stderr)
    (path,) = (world.root / name).glob("*/slow-swarm-*/result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    if found["status"] != "measured":
        raise SystemExit(found["reason"])
    return found


def main() -> None:
    """Prints the section."""
    resources = {number: [f"{slow_device.KIND}=1"] for number in (1, 2)}
    with (
        tempfile.TemporaryDirectory(prefix="cascadeport-swarm-") as folder,
        swarm_nodes.started(2, resources=resources) as swarm,
        swarm_nodes.registry(swarm) as registry,
    ):
        world = World(Path(folder), swarm, registry, PICTURES, 1, SECONDS)
        key = f"cascadeport.{slow_device.NAME}"
        for node in swarm.workers:
            swarm.label(node, **{key: "true"})
        # Both nodes pull the image, once, before anything is measured.
        done = world.run(world.swarm_line("first", shards=2, limit=4))
        if done.returncode not in command.FINISHED:
            raise SystemExit(done.stderr)
        two = measured(world, "two", 2)
        swarm.label(swarm.workers[1], **{key: "false"})
        one = measured(world, "one", 1)
        same = all(
            len({(world.infer(run) / name).read_bytes() for run in ("one", "two")}) == 1
            for name in ("detections.json", "geometry.jsonl", "pictures.jsonl")
        )
    ratio = two["end_to_end_ips"] / one["end_to_end_ips"]
    print("## Shards on a Docker Swarm\n")
    print(
        f"{PICTURES} pictures on nodes with one device each, which takes {SECONDS} s for a picture "
        "and leaves the processor free. Nodes are Docker Engines in network namespaces of one "
        "machine. Both have the image already. Speeds are of all devices together, from the first "
        "shard's beginning to the last one's end.\n"
    )
    print("| nodes | shards | device img/s | end-to-end img/s | each device alone, end to end |")
    print("| ---: | ---: | ---: | ---: | --- |")
    for found in (one, two):
        summary = found["run"]["summary"]
        each = ", ".join(f"{device['end_to_end_ips']:.3f}" for device in summary["devices"])
        nodes, shards = found["fleet"]["nodes"], len(found["fleet"]["shards"])
        print(
            f"| {nodes} | {shards} | {found['device_ips']:.3f} | {found['end_to_end_ips']:.3f} | "
            f"{each} |"
        )
    verdict = "reached" if ratio >= TARGET else "MISSED"
    print(f"\nTwo nodes are {ratio:.3f} times as fast as one; target {TARGET}: {verdict}.")
    print(f"Detections, geometry and pictures are {'the same' if same else 'NOT THE SAME'} bytes.")


if __name__ == "__main__":
    main()
