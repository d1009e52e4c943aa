"""infer: detections of a user's pictures. An interrupted run goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Union

from bundle.digest import file_digest
from bundle.errors import BundleError
from bundle.files import make_folder, write_errors, write_json
from bundle.frozen import console, products
from bundle.frozen.golden import device_problems
from bundle.frozen.journal import Journal, found_line, remove_journal, skipped_line
from bundle.frozen.layout import Frozen, read_json
from bundle.frozen.pictures import Source
from bundle.group import Inferred
from bundle.job import Job
from bundle.picture import SkippedPicture
from bundle.postprocess import check_outputs, locate
from bundle.run import check_network_files
from bundle.runners import Runner, open_runner
from bundle.shards import ALL, Shard
from bundle.stream import Stream

FORMAT = 1


class Request(NamedTuple):
    """What is asked of `infer`, besides pictures and folder.

    Args:
        formats: Some of `products.FORMATS`; JSON lines are always written.
        draw: Whether to draw every picture's detections.
        shard: Which share of the pictures.
        again: Whether to begin anew where results of an earlier run are.
    """

    formats: Sequence[str] = ("jsonl",)
    draw: bool = False
    shard: Shard = ALL
    again: bool = False


class Summary(NamedTuple):
    """What came of it. `skipped` pictures have no results, `undrawn` ones were not drawn."""

    pictures: int
    detections: int
    skipped: int
    undrawn: int


def infer(
    frozen: Frozen,
    source: Source,
    out: str,
    request: Request,
    load: Callable[[Job], Runner] = open_runner,
) -> Summary:
    """Detects, and writes results into the folder `out`.

    Raises:
        BundleError: The device failed, a result cannot be written, or the folder holds results
            of another run. What is finished is kept, and a second call goes on from there.
    """
    mine = request.shard.take(source.pictures)
    job = frozen.with_pictures(source.root, mine)
    suffix = request.shard.suffix
    record_path = os.path.join(out, "infer{}.json".format(suffix))
    lines_path = os.path.join(out, "detections{}.jsonl".format(suffix))
    identity = _identity(frozen, source, request.shard)
    make_folder(out)
    with _lock(os.path.join(out, ".infer{}.lock".format(suffix))):
        if request.again:
            remove_journal(lines_path)
        else:
            _check_folder(record_path, lines_path, identity)
        record = {"format": FORMAT, "state": "running", "run": identity, "labels": labels(frozen)}
        with Journal(lines_path, mine, job.path) as journal:
            if not journal.finished:
                write_json(record_path, record)
                _explain(journal, len(mine))
                _detect(frozen, job, journal, load)
                journal.finish()
            undrawn = _write_products(journal, out, source, job, request)
        record.update(
            state="finished",
            pictures=journal.done,
            skipped=journal.skipped,
            detections=journal.detections,
            lines=file_digest(lines_path),
        )
        write_json(record_path, record)
    return Summary(journal.done, journal.detections, journal.skipped, undrawn)


def _detect(frozen: Frozen, job: Job, journal: Journal, load: Callable[[Job], Runner]) -> None:
    left = job.pictures[journal.done :]
    if not left:
        return
    for network in job.runner.networks:
        check_network_files(network)
    progress = console.Progress("pictures", len(job.pictures), journal.done)

    def finish(result: Union[Inferred, SkippedPicture]) -> None:
        if isinstance(result, SkippedPicture):
            console.note("skipped {}: {}".format(result.picture.file, result.reason))
            journal.write(skipped_line(result))
        else:
            boxes, labels = result.outputs.boxes, result.outputs.labels
            check_outputs(boxes, labels, job, "picture {}".format(job.path(result.picture)))
            found = locate(boxes, labels, result.geometry, job)
            journal.write(found_line(result, found, job))
        progress.step()

    with Stream(job, load) as stream:
        stream.run(left, finish)
        for problem in device_problems(frozen, stream.runner):
            console.note("WARNING: {}".format(problem))


def _write_products(journal: Journal, out: str, source: Source, job: Job, request: Request) -> int:
    if "coco" in request.formats:
        products.write_coco(journal.lines(), out, request.shard.suffix, job)
    if "txt" in request.formats:
        products.write_txt(journal.lines(), out, source.names)
    if not request.draw:
        return 0
    progress = console.Progress("pictures drawn", journal.done - journal.skipped)
    changed = products.draw(journal.lines(), out, source.names, job, progress.step, request.again)
    for file in changed:
        console.note("not drawn, because it has changed meanwhile: {}".format(file))
    return len(changed)


def _identity(frozen: Frozen, source: Source, shard: Shard) -> Dict[str, str]:
    """What results depend on, other than the pictures' content. Values are short texts."""
    pictures = [[one.id, one.file] for one in source.pictures]
    return dict(
        frozen_identity(frozen),
        **{
            "list of pictures": "{} pictures, {}".format(len(pictures), _sha256(pictures)),
            "shard": str(shard),
        },
    )


def frozen_identity(frozen: Frozen) -> Dict[str, str]:
    """The part of it that is the image's."""
    settings = asdict(frozen.job)
    del settings["runner"], settings["root"]
    return {
        "image": "{} {} for {}".format(frozen.name, frozen.version, frozen.target),
        "networks": ", ".join(frozen.network_digests),
        "bundle": frozen.bundle,
        "settings": _sha256(settings),
    }


def _sha256(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("ascii")).hexdigest()


def _check_folder(record_path: str, lines_path: str, identity: Dict[str, str]) -> None:
    """Refuses a folder with results of something else."""
    if not os.path.exists(record_path):
        found = [path for path in (lines_path, lines_path + ".part") if os.path.exists(path)]
        if found:
            raise BundleError(
                "The folder has results, but no record of what they are of.",
                found[0],
                "Use another folder, or add --again to replace them.",
            )
        return
    before = read_json(record_path).get("run")
    before = before if isinstance(before, dict) else {}
    differs = [key for key, value in identity.items() if before.get(key) != value]
    if differs:
        raise BundleError(
            "The folder has results of another run: {} differs.".format(", ".join(differs)),
            record_path,
            "Use another folder, or add --again to replace them.",
        )


def _explain(journal: Journal, total: int) -> None:
    if journal.changed:
        console.note(
            "{} has changed since it was looked at: going on from there".format(journal.changed)
        )
    if journal.done:
        console.note("going on: {} of {} pictures are done".format(journal.done, total))


def labels(frozen: Frozen) -> List[Dict[str, str]]:
    """Why results are not what they could be taken for, as records say it."""
    return [asdict(label) for label in frozen.labels]


@contextlib.contextmanager
def _lock(path: str) -> Iterator[None]:
    """Keeps a second process out of the folder. The lock ends with the process, however it ends."""
    import fcntl

    with write_errors(path):
        stream = open(path, "w")  # noqa: SIM115
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BundleError(
                "Another process writes results there.",
                os.path.dirname(path),
                "Wait for it, or use another folder.",
            ) from None
        except OSError as failure:
            console.note("{} cannot be locked: {}".format(path, failure.strerror))
        yield
