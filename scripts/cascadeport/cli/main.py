"""The command line. Exit codes are listed in docs/command-line.md and in `EXIT_CODES`."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from cascadeport import __version__
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.config.options import Options

if TYPE_CHECKING:
    from cascadeport.core.plan import Plan


class _Terminated(KeyboardInterrupt):
    """SIGTERM: ends like Ctrl-C, with another exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args(argv)
    reporter = Reporter()
    try:
        with _terminable():
            command: Callable[[argparse.Namespace, Reporter], int] = arguments.command
            return command(arguments, reporter)
    except CascadeportError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"cascadeport: {error}", file=sys.stderr)
        return error.exit_code
    except _Terminated:
        print("cascadeport: terminated; finished stages are kept", file=sys.stderr)
        return ExitCode.TERMINATED
    except KeyboardInterrupt:
        print("cascadeport: stopped; finished stages are kept", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    except Exception as error:
        if arguments.debug:
            traceback.print_exc()
        print(
            f"cascadeport: internal error: {type(error).__name__}: {error}\n"
            "  next:  Run the same command with --debug (make: DEBUG=1) and report what it prints.",
            file=sys.stderr,
        )
        return ExitCode.INTERNAL


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cascadeport",
        description="One detector, several accelerators, the same code in each, one honest table.",
        epilog="exit codes: " + "; ".join(f"{code:d} {code.meaning}" for code in ExitCode),
    )
    parser.add_argument("--version", action="version", version=f"cascadeport {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    everything = commands.add_parser("all", help="run the whole pipeline of one target")
    _add_options(everything)
    everything.add_argument(
        "--targets",
        dest="several",
        metavar="NAMES",
        help="several instead of one; side by side where their hosts differ",
    )
    everything.add_argument("--dry-run", action="store_true", help="print the plan, run nothing")
    everything.set_defaults(command=_all)

    planning = commands.add_parser("plan", help="print what `all` would do")
    _add_options(planning)
    planning.add_argument("--json", action="store_true", help="print it as JSON")
    planning.set_defaults(command=_plan)

    looking = commands.add_parser("doctor", help="look at what a target needs, and what is missing")
    _add_options(looking)
    looking.add_argument("--json", action="store_true", help="print it as JSON")
    looking.set_defaults(command=_doctor)

    comparing = commands.add_parser("compare", help="write the comparison of finished results")
    _add_options(comparing)
    comparing.set_defaults(command=_compare)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    default = Options()
    add = parser.add_argument
    add("--target", default=default.target, help="a name in targets.toml (%(default)s)")
    add("--model", help="a name in models/ or the path of a card")
    add("--data", help="a name in models/data/ or a folder in COCO layout")
    add("--pictures", help="the folder of pictures below the data folder (val2017)")
    add("--annotations", help="below the data folder (annotations/instances_val2017.json)")
    add("--checkpoint", type=Path, help="your own copy of the card's checkpoint")
    add(
        "--random-weights",
        type=int,
        metavar="SEED",
        help="export random weights instead of a checkpoint, for work on speed and parity",
    )
    add("--limit", type=int, metavar="N", help="use only the first N pictures")
    add("--keep-going", action="store_true", help="list pictures that cannot be read, go on")
    add("--engine", choices=("local", "docker"), help="where commands run (the target's own)")
    add("--simulate", action="store_true", help="run an Ascend target on a stand-in for CANN")
    add("--bins", action="store_true", help="run an Ascend target by the vendor's ais_infer")
    add(
        "--proposals", type=int, metavar="N", help="proposals that the RPN keeps (the target's own)"
    )
    add(
        "--nms-levels",
        choices=("within", "across"),
        help="NMS of proposals within each pyramid level or across all (the target's own)",
    )
    add(
        "--nms-precision",
        choices=("float32", "float16"),
        help="what boxes and scores are when NMS sees them (the target's own)",
    )
    add(
        "--precision",
        choices=("float32", "float16"),
        help="what the network computes in, where its lowering has a choice (the target's own)",
    )
    add("--threads", type=int, metavar="N", help="threads of the network on a CPU (one per core)")
    add(
        "--repeats",
        type=int,
        metavar="N",
        default=default.repeats,
        help="timed passes over the first pictures, for the spread (%(default)s)",
    )
    add("--keep-failed", action="store_true", help="keep what a failed stage left")
    add("--build", type=Path, default=default.build, help="where shared products are kept")
    add("--results", type=Path, default=default.results, help="where results are written")
    add("--debug", action="store_true", help="show the traceback of an error")


def _options(arguments: argparse.Namespace) -> Options:
    values = {key: getattr(arguments, key) for key in asdict(Options()) if hasattr(arguments, key)}
    for key in ("build", "results"):
        values[key] = values[key].expanduser().resolve()
    return replace(Options(), **values)


def _all(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.dry_run:
        return _dry_run(arguments, reporter)
    options = _options(arguments)
    if arguments.several:
        from cascadeport.commands import several

        found = several.names(arguments.several, options)
        return several.run(found, options, reporter, ["--debug"] if arguments.debug else [])
    from cascadeport.commands.run import run

    return run(options, reporter)


def _dry_run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    arguments.json = False
    if not arguments.several:
        return _plan(arguments, reporter)
    from cascadeport.commands import several

    for name in several.names(arguments.several, _options(arguments)):
        _plan(argparse.Namespace(**{**vars(arguments), "target": name}), reporter)
    return 0


def _plan(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from cascadeport.commands.opening import opened
    from cascadeport.pipeline.planner import plan

    with opened(_options(arguments), reporter) as context:
        return _print_plan(plan(context), arguments.json)


def _print_plan(made: Plan, as_json: bool) -> int:
    if as_json:
        print(json.dumps(_as_json(made), indent=1, ensure_ascii=False))
        return 0
    print(f"target   {made.target_name} ({made.target.title}), engine {made.engine}")
    print(f"model    {made.card.name} ({made.card.title})")
    print(f"data     {made.data_name}")
    print(f"results  {made.results}")
    for note in made.notes:
        print(f"note     {note}")
    for stage in made.stages:
        freshness = stage.freshness
        mark = "skip" if freshness.is_up_to_date else "run"
        print(f"{mark:<8} {stage.name:<9} {stage.title}  [{stage.key[:12]}] {freshness.reason}")
    return 0


def _as_json(plan: Any) -> dict[str, Any]:
    return {
        "target": plan.target_name,
        "engine": plan.engine,
        "model": plan.card.name,
        "data": plan.data_name,
        "results": str(plan.results),
        "notes": list(plan.notes),
        "stages": [
            {
                **stage.facts(),
                "folder": str(stage.folder),
                "key": stage.key,
                "is_up_to_date": stage.freshness.is_up_to_date,
                "reason": stage.freshness.reason,
            }
            for stage in plan.stages
        ],
    }


def _doctor(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from cascadeport import doctor
    from cascadeport.commands.opening import opened

    with opened(_options(arguments), reporter) as context:
        findings = doctor.run_checks(context)
    print(doctor.as_json(findings) if arguments.json else doctor.as_text(findings))
    return ExitCode.OK if doctor.is_healthy(findings) else ExitCode.INPUT


def _compare(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from cascadeport.commands.run import compare

    return compare(_options(arguments), reporter)
