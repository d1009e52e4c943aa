"""Opens the context of a command: everything that is read for it is read here, once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.base.progress import Reporter
from cascadeport.config import hosts, targets
from cascadeport.config.hosts import Host
from cascadeport.config.options import Options, environment, of
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend
from cascadeport.core.context import Context
from cascadeport.core.task import Engine


@contextlib.contextmanager
def opened(
    options: Options, reporter: Reporter, environ: Mapping[str, str] | None = None
) -> Iterator[Context]:
    """The context of a command about one target; its engine is closed when the block ends.

    Raises:
        CascadeportError: The target does not exist, or cannot do what the options ask for.
    """
    context = open_context(options, reporter, environ)
    try:
        yield context
    finally:
        context.engine.close()


def open_context(
    options: Options, reporter: Reporter, environ: Mapping[str, str] | None = None
) -> Context:
    """The context of a command about one target."""
    environ = environment.read(os.environ if environ is None else environ)
    known = targets.load(options.targets, backends.row)
    target = targets.find(options.target, known)
    backend = backends.of(target)
    _check_supported(options, backend, known)
    host, engine = _engine(options, target, backend, environ)
    return Context(
        options=options,
        name=options.target,
        target=target,
        targets=known,
        engine=engine,
        host=host,
        variables=getattr(engine, "variables", environ),
        reporter=reporter,
    )


def _engine(
    options: Options, target: Target, backend: Backend[Any], environ: Mapping[str, str]
) -> tuple[Host, Engine]:
    name = options.engine or target.engine
    if name != "swarm":
        for flag, given in (("--volume", options.volume), ("--registry", options.registry)):
            if given is not None:
                raise CascadeportError(
                    f"{flag} is for the nodes of a swarm.",
                    where=f"{flag} {given}",
                    next="Leave it out, or add --engine swarm.",
                )
    if name == "local":
        if target.engine != "local":
            raise CascadeportError(
                f"Target {options.target} runs in a container only.",
                where="--engine local",
                next="Leave --engine out, or use --engine docker.",
            )
        from cascadeport.engines import sandbox

        if options.platform is not None:
            raise CascadeportError(
                "A platform is what containers are built for, and this target's commands run "
                "without one.",
                where=f"--platform {options.platform}",
                next="Leave it out, or add --engine docker.",
            )
        from cascadeport.engines.local import LocalEngine

        return Host(), LocalEngine(backend, environ.get(sandbox.VARIABLE, ""))
    # The docker SDK is slow to import and not needed on a laptop without containers.
    from cascadeport.containers.engine import DockerEngine

    host = hosts.find(options.target, hosts.load(REPOSITORY / hosts.FILE), environ)
    if name == "swarm":
        from cascadeport.containers.swarm import SwarmEngine

        return host, SwarmEngine(options.target, target, backend, options, host, environ)
    return host, DockerEngine(options.target, target, backend, options, host, environ)


def _check_supported(options: Options, backend: Backend[Any], known: Mapping[str, Target]) -> None:
    """Refuses options that only other backends understand."""
    particular = {name for each in backends.every() for name in each.supported}
    for option in of(Options):
        name = option.field
        if name not in particular or name in backend.supported:
            continue
        if getattr(options, name) == option.default:
            continue
        others = [
            target for target, row in known.items() if name in backends.load(row.backend).supported
        ]
        use = " or ".join(f"`--target {other}`" for other in others)
        raise CascadeportError(
            f"{option.flag} supports only the targets {' and '.join(others)}, not "
            f"{options.target}.",
            next=f"Leave it out, or use {use}.",
        )
