"""Reads frozen.json: what this image detects, and how. docs/frozen-image.md is its contract."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Sequence, Tuple

from bundle.digest import bundle_digest
from bundle.errors import BundleError
from bundle.job import Job, Picture, check_job
from bundle.section import Section

FORMAT = 1
NAME = "frozen.json"
LABELS = ("simulated", "forced")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_ADVICE = "The image or the folder is damaged or of another release: verify the shipment."
# What a job has besides what is frozen. The pictures are the user's, and nothing is measured.
_WITHOUT_PICTURES: Dict[str, Any] = {
    "pictures": {"root": "", "items": [{"id": 0, "file": "none", "width": 1, "height": 1}]},
    "measure": {"warmup": 0, "repeats": 1, "repeat_pictures": 1},
    "keep_going": True,
    "draw": 0,
}


@dataclass(frozen=True)
class Label:
    """Why this image is not what it could be taken for: `simulated` or `forced`, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Frozen:
    """What this image detects, and how.

    Args:
        folder: The folder of frozen.json.
        name: The image's name, which is the model's in the inference protocol.
        title: The model's title.
        version: The image's version.
        target: The target that the networks were converted for.
        target_title: Its title.
        labels: Why it is not what it could be taken for, if it is not.
        bundle: The digest of the bundle that made the run.
        job: The run's job, without pictures.
    """

    folder: str
    name: str
    title: str
    version: str
    target: str
    target_title: str
    labels: Tuple[Label, ...]
    bundle: str
    job: Job

    @property
    def warnings(self) -> Tuple[str, ...]:
        """A sentence for each label, for whoever sees results of this image."""
        return tuple("{}: {}".format(one.name.upper(), one.reason) for one in self.labels)

    @property
    def network_digests(self) -> Tuple[str, ...]:
        """The digests of the networks' files."""
        return tuple(network.sha256 for network in self.job.runner.networks)

    def with_pictures(self, root: str, pictures: Sequence[Picture]) -> Job:
        """The job over these pictures, whose files are relative to `root`."""
        return replace(self.job, root=root, pictures=tuple(pictures))


def default_folder() -> str:
    """The folder beside the bundle."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.join(os.path.dirname(package), "frozen")


def read_frozen(folder: str) -> Frozen:
    """Reads and checks frozen.json, and that this bundle is the one it was frozen with.

    The networks' digests are verified when they are loaded (`bundle.run.check_network_files`).

    Raises:
        BundleError: The file cannot be read or is invalid (all errors are listed), or the bundle
            is another one.
    """
    path = os.path.join(folder, NAME)
    frozen = _check(read_json(path), folder, path)
    found = bundle_digest()
    if found != frozen.bundle:
        raise BundleError(
            "This bundle is not the one that the run was made with: its digest is {}, not "
            "{}.".format(found, frozen.bundle),
            path,
            _ADVICE,
        )
    return frozen


def read_json(path: str) -> Any:
    """Reads a JSON file of the frozen folder.

    Raises:
        BundleError: It cannot be read, is not JSON, or is not of format 1.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError, RecursionError) as failure:
        raise BundleError(
            "{} cannot be read: {}.".format(os.path.basename(path), failure), path, _ADVICE
        ) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise BundleError(
            "The format is {!r}, but this program reads format {}.".format(found, FORMAT),
            path,
            _ADVICE,
        )
    return data


def invalid(errors: Sequence[str], path: str) -> BundleError:
    """The error that lists what is wrong with a file of the frozen folder."""
    return BundleError(
        "{} is invalid: {}.".format(os.path.basename(path), "; ".join(errors)), path, _ADVICE
    )


def _check(data: Dict[str, Any], folder: str, path: str) -> Frozen:
    errors: List[str] = []
    top = Section(data, "", errors)
    names = {key: top.text(key) for key in ("name", "version")}
    errors += [
        "{} {!r} is not at most 64 letters, digits, '.', '_' and '-'".format(key, value)
        for key, value in names.items()
        if not _NAME.match(value)
    ]
    titles = {key: top.text(key) for key in ("title", "target", "target_title")}
    labels = tuple(
        Label(one.text("name", LABELS), one.text("reason")) for one in top.objects("labels")
    )
    bundle = top.section("digests").text("bundle")
    errors += _outside(data.get("job"))
    if errors or not isinstance(data.get("job"), dict):
        raise invalid(errors or ["job is not an object"], path)
    job = replace(check_job(dict(_WITHOUT_PICTURES, **data["job"]), folder, path), pictures=())
    return Frozen(folder=folder, labels=labels, bundle=bundle, job=job, **names, **titles)


def _outside(job: Any) -> List[str]:
    """Whatever the job has that a frozen one must not have: other keys, paths out of the folder."""
    if not isinstance(job, dict):
        return []
    errors = [
        "job.{} does not belong there".format(key)
        for key in sorted(_WITHOUT_PICTURES)
        if key in job
    ]
    networks = job.get("networks")
    for network in networks if isinstance(networks, list) else []:
        if not isinstance(network, dict):
            continue
        files = network.get("files")
        for one in [network] + (files if isinstance(files, list) else []):
            named = one.get("path") if isinstance(one, dict) else None
            if isinstance(named, str) and _leaves(named):
                errors.append("job.networks: {!r} is not below the folder".format(named))
    return errors


def _leaves(path: str) -> bool:
    return os.path.isabs(path) or ".." in path.replace("\\", "/").split("/")
