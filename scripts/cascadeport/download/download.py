"""Fetches a file: every address in turn, resumed, retried, and checked before it gets its name."""

from __future__ import annotations

import time
from pathlib import Path

import filelock
import requests

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors
from cascadeport.download import local, transfer
from cascadeport.download.part import Part
from cascadeport.download.policy import Policy
from cascadeport.download.progress import Meter, Progress
from cascadeport.download.source import Fetched, Source, local_path
from cascadeport.download.transfer import BrokenError, RefusedError
from cascadeport.download.verify import check, mismatch

PATIENT = Policy()


def fetch(
    source: Source,
    destination: Path,
    *,
    progress: Progress | None = None,
    policy: Policy = PATIENT,
) -> Fetched:
    """Brings a file to its place, unless it is there already.

    What has arrived stays beside the destination as `NAME.part`, whatever happens, and the next
    call goes on from there; so the destination must not stand in a folder that is thrown away
    when a stage fails. A file at the destination whose bytes are wrong is moved aside.

    Args:
        source: What to fetch, and from where.
        destination: The path of the file.
        progress: Told how far it is.
        policy: How patient to be.

    Raises:
        CascadeportError: No address gave the right bytes (each with its reason), or there is no
            room on the disk.
    """
    with disk_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(destination.with_name(f".{destination.name}.lock")):
            return _standing(source, destination) or _fetch(source, destination, progress, policy)


def _standing(source: Source, destination: Path) -> Fetched | None:
    if not destination.exists():
        return None
    try:
        return check(destination, source)
    except CascadeportError:
        # Perhaps the user put it there: it is not ours to delete.
        destination.replace(destination.with_name(destination.name + ".wrong"))
        return None


def _fetch(source: Source, destination: Path, progress: Progress | None, policy: Policy) -> Fetched:
    failures = []
    meter = Meter(progress, source.name, source.size or 0)
    for address in source.addresses:
        try:
            path = local_path(address)
            if path is not None:
                local.take(source, path, destination, meter)
                size = destination.stat().st_size
                return Fetched(destination, check(destination, source).sha256, size, address)
            with Part(destination) as part, transfer.session(policy) as web:
                _download(web, address, part, source, policy, meter, destination.parent)
                part.finish()
                return Fetched(destination, part.sha256, part.size, address)
        except RefusedError as error:
            failures.append(f"{address}: {error}")
    raise CascadeportError(
        f"{source.name} could not be fetched.",
        where=str(destination),
        details=failures,
        next="Look at the network (HTTPS_PROXY and REQUESTS_CA_BUNDLE are honoured) and run the "
        "same command again: what has arrived is kept. Or get the file by other means and put "
        "it there: it is checked and used.",
    )


def _download(
    web: requests.Session,
    address: str,
    part: Part,
    source: Source,
    policy: Policy,
    meter: Meter,
    folder: Path,
) -> None:
    """Asks one address until the part is the whole file.

    Raises:
        RefusedError: It gives wrong bytes, or no bytes.
    """
    tag: str | None = None
    failures, furthest, renewed = 0, part.size, False
    while not part.matches(source):
        try:
            if source.size is None or part.size < source.size:
                with transfer.open_answer(web, address, part, tag, policy) as answer:
                    tag = transfer.tag_of(answer)
                    transfer.receive(answer, part, source, policy, meter, folder)
            if source.size is None or part.size >= source.size:
                if part.matches(source):
                    break
                renewed = _renew(part, source, renewed)
                continue
            raise BrokenError(f"it ended after {part.size:,} of {source.size:,} bytes")
        except BrokenError as error:
            failures += 1
            if part.size >= furthest + policy.progress_bytes:
                failures = 0
            furthest = max(furthest, part.size)
            if part.matches(source):
                break
            if failures >= policy.attempts:
                raise RefusedError(f"{error}, {failures} times in a row") from error
            wait = max(policy.backoff_s * 2 ** max(failures - 1, 0), error.wait_s)
            time.sleep(min(wait, policy.longest_wait_s))


def _renew(part: Part, source: Source, renewed: bool) -> bool:
    """Throws away wrong bytes. Those put together from several answers deserve a second chance.

    Raises:
        RefusedError: They came in one piece, or it is not the first time.
    """
    several = part.pieces > 1
    wrong = mismatch(source, part.size, part.sha256, part.head())
    part.restart()
    if renewed or not several:
        raise RefusedError(f"it gives other bytes: {wrong}")
    return True
