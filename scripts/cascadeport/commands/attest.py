"""`cascadeport attest`: signs a statement about a finished result."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cascadeport import attest as statements
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.config.options import Options, Request
from cascadeport.core import store
from cascadeport.datasets import Dataset
from cascadeport.pipeline.planner import plan


def attest(
    options: Options, request: Request, reporter: Reporter, given: Collection[str]
) -> ExitCode:
    """Signs a statement about a result and prints its path.

    Args:
        given: The options that were given; those about data say where a data set is now.
    """
    key = needed_key(request, "the private key that signs: --key ~/.ssh/id_ed25519")
    folder, dataset = located(options, request, reporter, given)
    with reporter.stage("compute the result again"), store.locked(folder.parent, wait=True):
        path = statements.attest(folder, key, force=request.force, dataset=dataset)
    reporter.line("attested", statements.state(folder))
    print(path)
    return ExitCode.OK


def needed_key(request: Request, what: str) -> Path:
    """The key that was given.

    Raises:
        CascadeportError: None was.
    """
    if request.key is None:
        raise CascadeportError("There is no --key.", next=f"Give {what}.")
    return request.key


def located(
    options: Options, request: Request, reporter: Reporter, given: Collection[str]
) -> tuple[Path, Dataset | None]:
    """The folder that the options mean, and its data set where they say where it is.

    Raises:
        CascadeportError: The options do not fit together, or the data set has errors.
    """
    if request.folder is not None and "data" not in given:
        return request.folder, None
    with opened(options, reporter) as context:
        made = plan(context)
        dataset = made.source.load(options) if "data" in given else None
        return request.folder or made.results, dataset
