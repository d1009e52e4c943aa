"""The commands of the command line. Their modules are imported when they run: `--help` is quick."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
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
    if call.request.devices is not None:
        from cascadeport.commands.estimate import estimate

        return estimate(call.options, call.request, call.reporter)
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
    print(f"gate     {made.gate.described}")
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
        "gate": made.gate.model_dump(),
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
    from cascadeport.doctor import difference

    request = call.request
    # A report that cannot be read is told before a minute of checks.
    other = Path(request.against).absolute() if request.against is not None else None
    there = difference.read(other) if other is not None else None
    with opened(call.options, call.reporter) as context:
        if request.fix:
            for done in doctor.repair(context):
                call.reporter.line("fixed", done)
        findings = [
            replace(
                one,
                finding=call.worded(one.finding),
                reason=call.worded(one.reason),
                remedy=call.worded(one.remedy),
            )
            for one in doctor.run_checks(context)
        ]
        if other is None or there is None:
            as_json = request.json
            print(
                doctor.as_json(doctor.as_values(findings, context))
                if as_json
                else doctor.as_text(findings)
            )
        else:
            here = doctor.as_values(findings, context)
            found = difference.differences(here, there)
            print(
                difference.as_json(found)
                if request.json
                else difference.as_text(found, here, there, other)
            )
    return ExitCode.OK if doctor.is_healthy(findings) else ExitCode.INPUT


def _report_problem(call: Call) -> int:
    from datetime import datetime

    from cascadeport.commands.opening import opened
    from cascadeport.doctor import problem

    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"problem-{call.options.target}-{moment}.zip"
    out = call.request.folder or call.options.build / "problems"
    with opened(call.options, call.reporter) as context:
        names = problem.pack(context, out / name)
    call.reporter.line("packed", f"{len(names)} files, no pictures, no weights, secrets masked")
    print(out / name)
    return ExitCode.OK


def _compare(call: Call) -> int:
    from cascadeport.commands.run import compare

    asked = call.request
    return compare(call.options, call.reporter, asked.against, asked.expected, asked.export)


def _history(call: Call) -> int:
    from cascadeport.commands.history import history

    return history(call.options, call.reporter, as_json=call.request.json)


def _explain(call: Call) -> int:
    from cascadeport.commands import explain

    request = call.request
    wanted = explain.Wanted(
        request.a, request.b, request.picture, request.ablate, request.dump, request.json
    )
    return explain.explain(call.options, call.reporter, wanted)


def _tune(call: Call) -> int:
    from cascadeport.commands import tune

    asked = call.request
    wanted = tune.Wanted(asked.budget, asked.targets, asked.json, call.worded)
    return tune.tune(call.options, call.reporter, wanted)


def _attest(call: Call) -> int:
    from cascadeport.commands.attest import attest

    return attest(call.options, call.request, call.reporter, call.given)


def _verify(call: Call) -> int:
    from cascadeport.commands.verify import verify

    return verify(call.options, call.request, call.reporter, call.given)


def _freeze(call: Call) -> int:
    from cascadeport.commands.freeze import freeze

    return freeze(call.options, call.request, call.reporter)


def _manifests(call: Call) -> int:
    from cascadeport.commands.manifests import manifests

    return manifests(call.options, call.request, call.reporter)


def _wheels(call: Call) -> int:
    from cascadeport.commands import wheels

    target = call.options.target if "target" in call.given else None
    return wheels.fetch(call.options, call.reporter, target)


def _quantise(call: Call) -> int:
    from cascadeport.commands.quantise import run

    return run(call.options, call.reporter)


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
    Command(
        "plan",
        "print what `all` would do, and why; with `--devices`, estimate how long so many pictures "
        "take, and what bounds it ([plan.md](plan.md))",
        _plan,
        (*_RUN, "json", "devices", "cores", "storage", "picture_size", "hosts", "dist"),
    ),
    Command(
        "doctor",
        "check whether a target can run here, and say what is missing",
        _doctor,
        (*_RUN, "json", "against", "fix"),
    ),
    Command(
        "report-problem",
        "pack what the doctor says, versions, plan and logs into one file, without secrets or "
        "pictures",
        _report_problem,
        (*_RUN, "folder"),
    ),
    Command(
        "compare",
        "write the comparison of finished results again, and hold it against an earlier run",
        _compare,
        (*_RUN, "against", "expected", "export"),
    ),
    Command("history", "list the runs that are kept", _history, (*_RUN, "json")),
    Command(
        "explain",
        "say where two rows begin to differ, who makes the error, and what each change of meaning "
        "costs ([explain.md](explain.md))",
        _explain,
        (
            *("a", "b", "picture", "dump", "ablate", "json"),
            *("model", "data", "pictures", "annotations", "limit", "build", "results"),
        ),
        words=("a", "b"),
    ),
    Command(
        "tune",
        "search the fastest recipe that loses no more than a budget of mAP, and draw the frontier "
        "([tune.md](tune.md))",
        _tune,
        (*_RUN, "targets", "budget", "json"),
    ),
    Command(
        "attest",
        "sign a statement about a finished, valid result ([attest.md](attest.md))",
        _attest,
        (*_RUN, "key", "force", "folder"),
        words=("folder",),
    ),
    Command(
        "verify",
        "check the signature and the files of what was signed, and compute its numbers again",
        _verify,
        (*_RUN, "key", "folder"),
        words=("folder",),
    ),
    Command(
        "freeze",
        "freeze a finished, valid run into an image, and pack it into a folder that travels "
        "([freeze.md](freeze.md))",
        _freeze,
        (*_RUN, "key", "force", "tag", "part_size", "compression", "since", "dist"),
    ),
    Command(
        "manifests",
        "write a frozen image's manifests for Kubernetes: shards as an Indexed Job, servers as a "
        "Deployment ([kubernetes.md](kubernetes.md))",
        _manifests,
        (
            *("target", "model", "simulate", "dist", "shipment", "image", "namespace"),
            *("shards", "parallelism", "replicas", "pictures_claim", "found_claim", "host_files"),
        ),
        words=("target",),
    ),
    Command(
        "quantise",
        "make a target's int8 network and measure nothing; on Ascend, prepare the input of the "
        "vendor's tool ([int8.md](int8.md))",
        _quantise,
        _RUN,
    ),
    Command(
        "wheels",
        "download what a target's image is built from into `build/wheels`; without a target, for "
        "all of them",
        _wheels,
        ("target", "platform"),
    ),
    Command(
        "install",
        "install what a target needs on this machine besides `requirements.lock`; without a "
        "target, for all of them; with `--precision int8` also the tools that quantise",
        _install,
        ("target", "precision"),
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
