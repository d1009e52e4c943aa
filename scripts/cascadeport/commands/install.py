"""`cascadeport install`: installs what a target needs on this machine, before it is run."""

from __future__ import annotations

from cascadeport import backends
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.config import targets
from cascadeport.config.options import Options


def install(options: Options, reporter: Reporter, target: str | None) -> ExitCode:
    """Installs the environments of targets that have one of their own.

    Args:
        target: Which target; None: every one.
    """
    known = targets.load(options.targets, backends.row)
    rows = targets.selected(target, known)
    for row in rows:
        environment = backends.of(row).environment
        if environment is not None:
            environment.install(reporter)
            print(f"{environment.folder}: {environment.lock}")
    return ExitCode.OK
