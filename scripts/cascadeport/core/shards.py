"""Shards of a task, one after the other: for engines that have one place to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cascadeport.core.task import Event, Task

Run = Callable[[Task, Callable[[Event], None]], None]


def in_turn(run: Run, task: Task, count: int, on_event: Callable[[Event], None]) -> None:
    """Runs a task once for every shard; see `Engine.run_shards`.

    Args:
        run: Runs one.
    """
    with task.log.open("wb") as whole:
        for index in range(1, count + 1):

            def tell(event: Event, index: int = index) -> None:
                named = event
                if event.get("event") == "progress":
                    named = {**event, "phase": f"shard {index}/{count}, {event.get('phase')}"}
                on_event(named)

            log = task.log.with_name(f"{task.log.stem}-{index}{task.log.suffix}")
            argv = (*task.argv, "--shard", f"{index}/{count}")
            try:
                run(replace(task, argv=argv, log=log), tell)
            finally:
                if log.exists():
                    whole.write(log.read_bytes())
                    log.unlink()
