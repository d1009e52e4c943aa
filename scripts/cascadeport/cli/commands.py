"""The commands of the command line. Their modules are imported when they run: `--help` is quick."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cascadeport.base.errors import ExitCode
from cascadeport.cli.command import Call, Command
from cascadeport.config.options import Options, of

if TYPE_CHECKING:
    from cascadeport.core.plan import Plan


def _all(call: Call) -> int:
    if call.request.targets is None:
        if call.request.dry_run:
            return _plan(call)
        from cascadeport.commands.run import run

        return run(call.options, call.reporter)
    from cascadeport.commands import several

    names = several.names(call.request.targets, call.options)
    if call.request.dry_run:
        for name in names:
            _plan(replace(call, options=replace(call.options, target=name)))
        return ExitCode.OK
    more = ["--debug"] if call.request.debug else []
    return several.run(names, call.options, call.reporter, more)


def _plan(call: Call) -> int:
    from cascadeport.commands.opening import opened
    from cascadeport.pipeline.planner import plan

    with opened(call.options, call.reporter) as context:
        made = plan(context)
        if call.request.json:
            print(json.dumps(_as_json(made, call.worded), indent=1, ensure_ascii=False))
        else:
            _print_plan(made, call.worded)
    return ExitCode.OK


def _print_plan(made: Plan, worded: Callable[[str], str]) -> None:
    print(f"target   {made.target_name} ({made.target.title}), engine {made.engine}")
    print(f"model    {made.card.name} ({made.card.title})")
    print(f"data     {made.data_name}")
    print(f"results  {made.results}")
    for note in made.notes:
        print(f"note     {worded(note)}")
    for stage, freshness in made.outlook():
        mark = "skip" if freshness.is_up_to_date else "run"
        print(f"{mark:<8} {stage.name:<9} {stage.title}  [{stage.key[:12]}] {freshness.reason}")


def _as_json(made: Plan, worded: Callable[[str], str]) -> dict[str, Any]:
    return {
        "target": made.target_name,
        "engine": made.engine,
        "model": made.card.name,
        "data": made.data_name,
        "results": str(made.results),
        "notes": [worded(note) for note in made.notes],
        "stages": [
            {
                **stage.facts(),
                "folder": str(stage.folder),
                "key": stage.key,
                "is_up_to_date": freshness.is_up_to_date,
                "reason": freshness.reason,
            }
            for stage, freshness in made.outlook()
        ],
    }


def _doctor(call: Call) -> int:
    from cascadeport import doctor
    from cascadeport.commands.opening import opened

    with opened(call.options, call.reporter) as context:
        findings = [
            replace(
                one,
                finding=call.worded(one.finding),
                reason=call.worded(one.reason),
                remedy=call.worded(one.remedy),
            )
            for one in doctor.run_checks(context)
        ]
    print(doctor.as_json(findings) if call.request.json else doctor.as_text(findings))
    return ExitCode.OK if doctor.is_healthy(findings) else ExitCode.INPUT


def _compare(call: Call) -> int:
    from cascadeport.commands.run import compare

    return compare(call.options, call.reporter)


def _wheels(call: Call) -> int:
    from cascadeport.commands import wheels

    target = call.options.target if "target" in call.given else None
    return wheels.fetch(call.options, call.reporter, target)


def _install(call: Call) -> int:
    from cascadeport.commands.install import install

    target = call.options.target if "target" in call.given else None
    return install(call.options, call.reporter, target)


def _pin(call: Call) -> int:
    from cascadeport.commands.pin import pin

    return pin(call.options, call.reporter)


def _docs(call: Call) -> int:
    from cascadeport.cli import document

    document.write(COMMANDS)
    return ExitCode.OK


def _schemas(call: Call) -> int:
    from cascadeport.cli import schemas

    schemas.write()
    return ExitCode.OK


_RUN = tuple(each.field for each in of(Options))

COMMANDS = (
    Command("all", "run the whole pipeline", _all, (*_RUN, "targets", "dry_run")),
    Command("plan", "print what `all` would do, and why", _plan, (*_RUN, "json")),
    Command(
        "doctor",
        "check whether a target can run here, and say what is missing",
        _doctor,
        (*_RUN, "json"),
    ),
    Command("compare", "write the comparison of finished results again", _compare, _RUN),
    Command(
        "wheels",
        "download what a target's image is built from into `build/wheels`; without a target, for "
        "all of them",
        _wheels,
        ("target",),
    ),
    Command(
        "install",
        "install what a target needs on this machine besides `requirements.lock`; without a "
        "target, for all of them",
        _install,
        ("target",),
    ),
    Command("pin", "write `images/bases.lock`: the digests of the base images", _pin),
    Command("schemas", "write the JSON schemas in `docs/schemas`", _schemas),
    Command(
        "docs",
        "write everything that is generated: `docs/command-line.md`, schemas, make's variables",
        _docs,
    ),
)
"""Every command, in the order of the help."""

NAMED = {each.name: each for each in COMMANDS}
