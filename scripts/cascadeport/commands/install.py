"""`cascadeport install`: installs what a target needs on this machine, before it is run."""

from __future__ import annotations

from cascadeport import backends
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.quantise.environment import ENVIRONMENT as QUANTISE


def install(options: Options, reporter: Reporter, target: str | None) -> ExitCode:
    """Installs the environments of targets that have one of their own; for int8 also the tools.

    Args:
        target: Which target; None: every one.
    """
    known = targets.load(options.targets, backends.row)
    rows = targets.selected(target, known)
    environments = [backends.of(row).environment for row in rows]
    if options.precision == "int8":
        environments.append(QUANTISE)
    for environment in environments:
        if environment is not None:
            environment.install(reporter)
            print(f"{environment.folder}: {environment.lock}")
    return ExitCode.OK
