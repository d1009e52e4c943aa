"""The commands of a frozen image and their arguments. What they do is imported when they run."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Callable, NamedTuple

from bundle.frozen import console
from bundle.frozen.layout import Frozen, read_frozen


class Command(NamedTuple):
    """A command of `python -m bundle.frozen`.

    Args:
        name: Its name.
        help: What it does.
        add_arguments: Adds its arguments to a parser.
        run: Runs it; returns whether everything is as it should be.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], bool]


def _read(options: argparse.Namespace) -> Frozen:
    """Reads the frozen folder, and says loudly what it is not."""
    frozen = read_frozen(options.frozen)
    for warning in frozen.warnings:
        console.note("WARNING: this image is {}".format(warning))
    return frozen


def _infer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="IN",
        help="a folder of pictures, a picture, or '-' for paths on standard input",
    )
    parser.add_argument("out", metavar="OUT", help="the folder for results")
    parser.add_argument(
        "--format",
        action="append",
        choices=("jsonl", "coco", "txt"),
        default=[],
        help="JSON lines (always written), COCO JSON, or the guide's txt; may be repeated",
    )
    parser.add_argument("--draw", action="store_true", help="draw boxes on every picture")
    parser.add_argument(
        "--shard",
        metavar="i/n",
        default="1/1",
        help="take share i of n; '/n' takes i from JOB_COMPLETION_INDEX, which counts from 0",
    )
    parser.add_argument("--again", action="store_true", help="replace results of an earlier run")


def _infer(options: argparse.Namespace) -> bool:
    from bundle.frozen.infer import Request, infer
    from bundle.frozen.pictures import find_pictures
    from bundle.frozen.serve.note import noted
    from bundle.shards import parse_shard

    shard = parse_shard(options.shard)
    frozen = _read(options)
    source = find_pictures(options.source, options.out, sys.stdin.buffer)
    if source.ignored:
        console.note("{} files are not pictures by their names".format(source.ignored))
    request = Request(options.format, options.draw, shard, options.again)
    with noted("", 0, False):
        done = infer(frozen, source, options.out, request)
    console.say(
        "{} pictures, {} detections, {} skipped: {}".format(
            done.pictures, done.detections, done.skipped, options.out
        )
    )
    return not done.skipped and not done.undrawn


def _merge_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="the folder for the results of all shards")
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="*", help="where shards are, if they are not in OUT"
    )
    parser.add_argument(
        "--format",
        action="append",
        choices=("jsonl", "coco"),
        default=[],
        help="JSON lines (always written) or COCO JSON",
    )


def _merge(options: argparse.Namespace) -> bool:
    from bundle.frozen.merge import merge

    done = merge(_read(options), options.out, options.folders, options.format)
    console.say(
        "{} pictures, {} detections, {} skipped: {}".format(
            done.pictures, done.detections, done.skipped, options.out
        )
    )
    return not done.skipped


def _selftest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--health",
        action="store_true",
        help="if a server runs here, ask it instead: it looks at the golden pictures itself; "
        "and leave the device to an infer that runs here",
    )


def _selftest(options: argparse.Namespace) -> bool:
    from bundle.frozen.selftest import selftest
    from bundle.frozen.serve.health import ask_server

    health = ask_server() if options.health else None
    if health is not None:
        console.say(health.text)
        return health.ready
    results = selftest(_read(options))
    if options.json:
        console.say(json.dumps([one._asdict() for one in results], indent=1))
    else:
        for one in results:
            detail = ": {}".format(one.detail) if one.detail else ""
            console.say("{}  {}  {}{}".format(one.picture, one.part, one.state, detail))
    differing = [one for one in results if one.state == "differs"]
    if differing:
        parts = sorted({one.part for one in differing})
        console.note("FAILED: {} differs from the frozen run".format(", ".join(parts)))
    elif not options.json:
        console.say("passed: this image finds what the frozen run found")
    return not differing


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    from bundle.frozen.serve.limits import MIB, Limits

    usual = Limits()
    parser.add_argument("--host", default="0.0.0.0", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="the port (default: %(default)s)")
    numbers = (
        ("--queue", usual.queue, "requests that may be accepted and not answered yet"),
        ("--max-body", usual.body // MIB, "MiB of a request's body"),
        ("--max-memory", usual.memory // MIB, "MiB of all bodies together"),
        ("--max-pixels", usual.pixels, "pixels of a picture"),
        ("--max-connections", usual.connections, "open connections"),
        ("--max-wait", int(usual.answer_seconds), "seconds until a request's turn"),
        ("--max-device", int(usual.device_seconds), "seconds for a picture on the device"),
    )
    for name, default, text in numbers:
        parser.add_argument(
            name, type=_positive, default=default, metavar="N", help=text + " (%(default)s)"
        )
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="ask for the key in this file; or set CASCADEPORT_API_KEY to the key",
    )
    parser.add_argument("--tls-certificate", metavar="FILE", default="", help="serve over TLS")
    parser.add_argument("--tls-key", metavar="FILE", default="", help="the certificate's key")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _serve(options: argparse.Namespace) -> bool:
    from bundle.frozen.serve.limits import MIB, Limits
    from bundle.frozen.serve.server import Settings, read_key, serve

    limits = Limits(
        queue=options.queue,
        body=options.max_body * MIB,
        memory=options.max_memory * MIB,
        pixels=options.max_pixels,
        connections=options.max_connections,
        answer_seconds=options.max_wait,
        device_seconds=options.max_device,
    )
    settings = Settings(
        host=options.host,
        port=options.port,
        limits=limits,
        key=read_key(options.api_key_file),
        certificate=options.tls_certificate,
        private_key=options.tls_key,
    )
    serve(_read(options), settings)
    return True


def _about_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def _about(options: argparse.Namespace) -> bool:
    from bundle.frozen.about import about, text

    content = about(read_frozen(options.frozen))
    console.say(json.dumps(content, indent=1) if options.json else text(content))
    return True


def _record_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="a writable frozen folder")


def _record(options: argparse.Namespace) -> bool:
    from bundle.frozen.recording import record
    from bundle.runners import open_runner

    agreement = record(read_frozen(options.folder), open_runner)
    console.say("recorded: {} to what the run found".format(agreement))
    return True


COMMANDS = (
    Command("infer", "detect objects in pictures", _infer_arguments, _infer),
    Command(
        "merge",
        "merge the results of all shards of infer into those of one run",
        _merge_arguments,
        _merge,
    ),
    Command("serve", "answer requests over HTTP", _serve_arguments, _serve),
    Command(
        "selftest",
        "take the golden pictures through the whole path, and compare every part",
        _selftest_arguments,
        _selftest,
    ),
    Command("about", "say what this image is, and how to verify it", _about_arguments, _about),
    Command(
        "record",
        "write golden/expected.json, when an image is frozen",
        _record_arguments,
        _record,
    ),
)
