"""merge: the results of all shards of `infer`, as those of one run, byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence

from bundle.digest import file_digest
from bundle.errors import BundleError
from bundle.files import make_folder, write_errors, write_json
from bundle.frozen import products
from bundle.frozen.infer import FORMAT, Summary, frozen_identity, labels
from bundle.frozen.layout import Frozen, read_json
from bundle.shards import ALL, Shard

_NAME = re.compile(r"infer\.(\d{1,6})-of-(\d{1,6})\.json\Z")
_PART = ".part"
_LIST = "list of pictures"
# Read at a time of each file; none stays open, because there may be very many.
_CHUNK_BYTES = 1 << 16
_AGAIN = "Run that shard again, with --again."


class _Share(NamedTuple):
    """The results of one shard: the file of its record, that of its lines, and the record."""

    shard: Shard
    path: str
    lines: str
    record: Dict[str, Any]


def merge(frozen: Frozen, out: str, folders: Sequence[str], formats: Sequence[str]) -> Summary:
    """Merges shards into the folder `out`.

    Args:
        frozen: This image, which the shards must be of.
        out: The folder for the results.
        folders: Where the shards are; `out` itself unless there are some.
        formats: `coco` for COCO's files as well.

    Raises:
        BundleError: A shard is missing, there twice, not finished, altered, or of other pictures or
            another image; or a file cannot be read or written.
    """
    shares = _find(folders or [out])
    identity = frozen_identity(frozen)
    for share in shares:
        _check(share, identity, shares[0])
    _check_complete(shares, folders or [out])
    shares.sort(key=lambda share: share.shard)
    make_folder(out)
    path = os.path.join(out, "detections.jsonl")
    whole = shares[0].record["run"][_LIST]
    _write(shares, path, whole)
    total = {
        key: sum(share.record[key] for share in shares)
        for key in ("pictures", "skipped", "detections")
    }
    if "coco" in formats:
        products.write_coco(_parsed(path), out, ALL.suffix, frozen.job)
    record = {
        "format": FORMAT,
        "state": "finished",
        "run": dict(identity, **{_LIST: whole, "shard": str(ALL)}),
        "labels": labels(frozen),
        "pictures": total["pictures"],
        "skipped": total["skipped"],
        "detections": total["detections"],
        "lines": file_digest(path),
    }
    write_json(os.path.join(out, "infer.json"), record)
    return Summary(total["pictures"], total["detections"], total["skipped"], 0)


def _find(folders: Sequence[str]) -> List[_Share]:
    found = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError as failure:
            raise BundleError(
                "The folder cannot be read: {}.".format(failure.strerror or failure), folder
            ) from None
        for name in names:
            match = _NAME.match(name)
            if match:
                shard = Shard(int(match.group(1)), int(match.group(2)))
                path = os.path.join(folder, name)
                lines = os.path.join(folder, "detections{}.jsonl".format(shard.suffix))
                found.append(_Share(shard, path, lines, read_json(path)))
    if not found:
        raise BundleError(
            "There are no results of shards.",
            ", ".join(folders),
            "Run `infer IN OUT --shard i/n` for every i, then merge the folders that they wrote.",
        )
    return found


def _check(share: _Share, identity: Dict[str, str], first: _Share) -> None:
    record = share.record
    run = record.get("run")
    run = run if isinstance(run, dict) else {}
    differs = [key for key, value in identity.items() if run.get(key) != value]
    if differs:
        raise BundleError(
            "The results of shard {} are of another image: {} differs.".format(
                share.shard, ", ".join(differs)
            ),
            share.path,
            "Merge them in the image that made them.",
        )
    if record.get("state") != "finished":
        raise BundleError(
            "Shard {} is not finished.".format(share.shard),
            share.path,
            "Run the same command again; it goes on where it was.",
        )
    if run.get("shard") != str(share.shard):
        raise _altered(share, "its record is that of shard {}".format(run.get("shard")))
    if share.shard.count != first.shard.count:
        raise BundleError(
            "Shards {} and {} do not belong together.".format(first.shard, share.shard),
            share.path,
            "Merge shards of one number only.",
        )
    if run.get(_LIST) != first.record["run"].get(_LIST):
        raise BundleError(
            "Shards {} and {} are of other pictures: {} and {}.".format(
                first.shard, share.shard, first.record["run"].get(_LIST), run.get(_LIST)
            ),
            share.path,
            "All shards must be given the same folder or list of pictures.",
        )
    for key in ("pictures", "skipped", "detections"):
        if type(record.get(key)) is not int or record[key] < 0:
            raise _altered(share, "its record has no number of {}".format(key))
    try:
        digest = file_digest(share.lines)
    except OSError as failure:
        raise _unreadable(share, failure) from None
    if digest != record.get("lines"):
        raise _altered(share, "its lines are not what its record says")


def _check_complete(shares: Sequence[_Share], folders: Sequence[str]) -> None:
    count = shares[0].shard.count
    times = Counter(share.shard.index for share in shares)
    for index in sorted(times):
        if times[index] > 1:
            raise BundleError(
                "Shard {}/{} is there {} times.".format(index, count, times[index]),
                ", ".join(share.path for share in shares if share.shard.index == index),
                "Name each folder once.",
            )
    missing = [str(index) for index in range(1, count + 1) if index not in times]
    if missing:
        raise BundleError(
            "{} of {} shards are missing: {}.".format(
                len(missing), count, ", ".join(missing[:8]) + ", ..." * (len(missing) > 8)
            ),
            ", ".join(folders),
            "Run them, for example: infer IN OUT --shard {}/{}".format(missing[0], count),
        )


def _write(shares: Sequence[_Share], path: str, whole: str) -> None:
    """Writes the lines in the order of the list, which says that they are all there."""
    streams = [_lines(share) for share in shares]
    sha = hashlib.sha256(b"[")
    number = 0
    with write_errors(path):
        with open(path + _PART, "wb") as stream:
            while True:
                share = shares[number % len(shares)]
                line = next(streams[number % len(shares)], None)
                if line is None:
                    break
                try:
                    content = json.loads(line)
                    entry = json.dumps([content["id"], content["file"]])
                except (ValueError, KeyError, TypeError, RecursionError):
                    raise _altered(share, "a line of it is not what infer writes") from None
                sha.update((", " * (number > 0) + entry).encode("ascii"))
                stream.write(line + b"\n")
                number += 1
            os.fsync(stream.fileno())
        sha.update(b"]")
        if whole != "{} pictures, {}".format(number, sha.hexdigest()):
            os.remove(path + _PART)
            raise BundleError(
                "The lines of all shards are not those of the list of pictures: {} lines.".format(
                    number
                ),
                path,
                "A picture is missing or there twice: run all shards again, with --again.",
            )
        os.replace(path + _PART, path)


def _lines(share: _Share) -> Iterator[bytes]:
    offset, rest = 0, b""
    while True:
        try:
            with open(share.lines, "rb") as stream:
                stream.seek(offset)
                chunk = stream.read(_CHUNK_BYTES)
        except OSError as failure:
            raise _unreadable(share, failure) from None
        if not chunk:
            if rest:
                raise _altered(share, "its last line is torn")
            return
        offset += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _parsed(path: str) -> Iterator[Dict[str, Any]]:
    with open(path, "rb") as stream:
        for line in stream:
            yield json.loads(line)


def _unreadable(share: _Share, failure: OSError) -> BundleError:
    return BundleError(
        "The results cannot be read: {}.".format(failure.strerror or failure), share.lines, _AGAIN
    )


def _altered(share: _Share, how: str) -> BundleError:
    return BundleError(
        "The results of shard {} have been altered: {}.".format(share.shard, how),
        share.path,
        _AGAIN,
    )
