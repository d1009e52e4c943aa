"""Opens the context of a command as the command line does, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import open_context
from cascadeport.config.options import Options
from cascadeport.core.context import Context


def context(
    target: str = "cpu", *, environ: Mapping[str, str] | None = None, **options: Any
) -> Context:
    """The context of a command about a target. Its engine is idle: nothing has to be closed.

    Args:
        target: A name in targets.toml.
        environ: The environment; None: this process's.
        options: Other options, by the names of `Options`.
    """
    return open_context(Options(target=target, **options), Reporter(), environ)
