"""Runs a shard of a job, once: a finished one stays, and one that was killed leaves nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from dataclasses import replace
from typing import IO, Callable, Iterator, Optional

from bundle import events
from bundle.errors import BundleError
from bundle.files import make_folder, write_errors
from bundle.job import Job, read_job
from bundle.run import run
from bundle.runners import Runner, open_runner
from bundle.sharded.record import (
    FILES,
    ShardRecord,
    differences,
    is_by_this_bundle,
    job_digest,
    network_digest,
    read_shard,
    stamp,
)
from bundle.shards import Shard

_LOCK = "lock"


def run_shard(
    path: str,
    out: str,
    shard: Shard,
    load: Callable[[Job], Runner] = open_runner,
    start: Optional[float] = None,
) -> None:
    """Runs a shard of the job in the file `path` into a folder of its own below `out`.

    The folder gets its name when everything in it is complete, so that the same shard can be run at
    the same time elsewhere (by whoever took this host for dead): the first to finish counts.
    `load` and `start` are those of `run`.

    Raises:
        BundleError: The pass failed, or the folder has the results of another job.
    """
    job, digest = read_job(path), job_digest(path)
    if job.preprocess.pictures > 1:
        raise BundleError(
            "The network takes {} pictures at once, and in a shard a picture would have others "
            "beside it than in the whole.".format(job.preprocess.pictures),
            path,
            "Run the job without --shard, or with a network for one picture.",
        )
    networks = network_digest(job)
    folder = os.path.join(out, shard.folder)
    if _is_done(folder, digest, networks):
        return
    make_folder(out)
    _remove_leftovers(out, shard)
    with _working(out, shard) as part:
        run(replace(job, pictures=tuple(shard.take(job.pictures))), part, load, start)
        stamp(part, shard, digest)
        _finish(part, folder)


def _is_done(folder: str, digest: str, networks: str) -> bool:
    """Whether this very shard has been run; what is left of a damaged one is removed."""
    if not os.path.isdir(folder):
        return False
    try:
        found = read_shard(folder)
    except BundleError as failure:
        events.note("{} It is run again.".format(failure.what))
        _remove(folder)
        return False
    _check_same(found, digest, networks)
    if not is_by_this_bundle(found):
        events.note("Shard {} was run by another bundle: it is run again.".format(found.shard))
        _remove(folder)
        return False
    events.note("Shard {} has been run already: it is not run again.".format(found.shard))
    return True


def _check_same(found: ShardRecord, digest: str, networks: str) -> None:
    differs = differences(found, digest, networks)
    if differs:
        raise BundleError(
            "The folder has the results of {}.".format(", ".join(differs)),
            found.folder,
            "Use another folder for this job, or remove that one.",
        )


def _remove_leftovers(out: str, shard: Shard) -> None:
    """Removes the folders of those who were killed at this shard: nobody holds their locks."""
    start = ".{}.".format(shard.folder)
    for name in os.listdir(out):
        folder = os.path.join(out, name)
        if not name.startswith(start) or not os.path.isdir(folder):
            continue
        with contextlib.suppress(OSError):
            with open(os.path.join(folder, _LOCK), "r+") as stream:
                if not _lock(stream):
                    continue
                events.note("Shard {} was begun and not finished: it begins anew.".format(shard))
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _working(out: str, shard: Shard) -> Iterator[str]:
    """A folder for one attempt, locked as long as it lasts, and removed if it fails."""
    part = os.path.join(out, ".{}.{}".format(shard.folder, uuid.uuid4().hex[:12]))
    with write_errors(part):
        os.mkdir(part)
        lock = open(os.path.join(part, _LOCK), "w")  # noqa: SIM115
    try:
        with lock:
            _lock(lock)
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _lock(stream: IO[str]) -> bool:
    """Locks a file for as long as this process runs; False: another one has it, or nobody can."""
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _finish(part: str, folder: str) -> None:
    """Gives the folder its name. It has none before its files have reached the disk."""
    with write_errors(part):
        for name in FILES:
            with open(os.path.join(part, name), "rb") as stream:
                os.fsync(stream.fileno())
        os.remove(os.path.join(part, _LOCK))
    try:
        os.rename(part, folder)
    except OSError as failure:
        if not os.path.isdir(folder):
            with write_errors(folder):
                raise failure
        # A folder that is not empty cannot be replaced. If it is not whole, this raises.
        read_shard(folder)
        events.note("The same shard has been finished elsewhere: its results count.")


def _remove(folder: str) -> None:
    with write_errors(folder):
        shutil.rmtree(folder)
