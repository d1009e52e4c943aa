"""Downloads a file: every address in turn, resumed, retried, and verified before it is renamed."""

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
from cascadeport.download.source import Downloaded, Source, local_path
from cascadeport.download.transfer import PermanentError, TransientError
from cascadeport.download.verify import check, mismatch

DEFAULT_POLICY = Policy()


def download_file(
    source: Source,
    destination: Path,
    *,
    progress: Progress | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> Downloaded:
    """Downloads a file, unless it is there already.

    What has arrived stays beside the destination as `NAME.part`, whatever happens, and the next
    call resumes from it; so the destination must not be in a folder that is removed when a stage
    fails. A file at the destination whose digest is wrong is moved aside.

    Args:
        source: What to download, and from where.
        destination: The path of the file.
        progress: Receives the progress.
        policy: How often and how long to try.

    Raises:
        CascadeportError: No address gave the right file (each with its reason), or there is not
            enough space on the disk.
    """
    with disk_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(destination.with_name(f".{destination.name}.lock")):
            return _existing(source, destination) or _from_any(
                source, destination, progress, policy
            )


def _existing(source: Source, destination: Path) -> Downloaded | None:
    if not destination.exists():
        return None
    try:
        return check(destination, source)
    except CascadeportError:
        # Perhaps the user put it there: it is not ours to delete.
        destination.replace(destination.with_name(destination.name + ".wrong"))
        return None


def _from_any(
    source: Source, destination: Path, progress: Progress | None, policy: Policy
) -> Downloaded:
    failures = []
    meter = Meter(progress, source.name, source.size or 0)
    for address in source.addresses:
        try:
            path = local_path(address)
            if path is not None:
                local.link_or_copy(source, path, destination, meter)
                size = destination.stat().st_size
                return Downloaded(destination, check(destination, source).sha256, size, address)
            with Part(destination) as part, transfer.session(policy) as web:
                _download(web, address, part, source, policy, meter, destination.parent)
                part.finish()
                return Downloaded(destination, part.sha256, part.size, address)
        except PermanentError as error:
            failures.append(f"{address}: {error}")
    raise CascadeportError(
        f"{source.name} could not be downloaded.",
        where=str(destination),
        details=failures,
        next="Look at the network (HTTPS_PROXY and REQUESTS_CA_BUNDLE are honoured) and run the "
        "same command again: it resumes. Or get the file by other means and put it there: it is "
        "verified and used.",
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
    """Requests one address until the part is complete.

    Raises:
        PermanentError: It serves another file, or nothing.
    """
    tag: str | None = None
    failures, furthest, retried = 0, part.size, False
    while not part.matches(source):
        try:
            if source.size is None or part.size < source.size:
                with transfer.request(web, address, part, tag, policy) as response:
                    tag = transfer.tag_of(response)
                    transfer.receive(response, part, source, policy, meter, folder)
            if source.size is None or part.size >= source.size:
                if part.matches(source):
                    break
                retried = _discard(part, source, retried)
                continue
            raise TransientError(f"it ended after {part.size:,} of {source.size:,} bytes")
        except TransientError as error:
            failures += 1
            if part.size >= furthest + policy.progress_bytes:
                failures = 0
            furthest = max(furthest, part.size)
            if part.matches(source):
                break
            if failures >= policy.attempts:
                raise PermanentError(f"{error}, {failures} times in a row") from error
            wait = max(policy.backoff_s * 2 ** max(failures - 1, 0), error.wait_s)
            time.sleep(min(wait, policy.longest_wait_s))


def _discard(part: Part, source: Source, retried: bool) -> bool:
    """Discards a wrong file. One put together from several responses gets a second chance.

    Raises:
        PermanentError: It came in one piece, or this is the second time.
    """
    several = part.pieces > 1
    wrong = mismatch(source, part.size, part.sha256, part.head())
    part.restart()
    if retried or not several:
        raise PermanentError(f"it serves another file: {wrong}")
    return True
