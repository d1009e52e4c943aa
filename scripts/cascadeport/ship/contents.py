"""What a frozen image has beside the bundle: /opt/cascadeport/frozen (docs/frozen-image.md)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.job import AUTO
from cascadeport import __version__
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.reading import read_record
from cascadeport.core.plan import Plan
from cascadeport.datasets import Dataset
from cascadeport.pipeline import companions
from cascadeport.results.comparison import Row
from cascadeport.results.result import Result
from cascadeport.ship import golden, labels
from cascadeport.ship.labels import Label

FOLDER = "opt/cascadeport/frozen"
"""Where it is in the image."""
STATEMENT = "statement.dsse.json"
_FORMAT = 1
_AGAIN = "Run the target again."
_NOT_FROZEN = ("pictures", "measure", "keep_going", "draw")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Subject:
    """What is frozen.

    Args:
        plan: The plan of the run.
        result: Its result, computed.
        row: Its row of the table, computed.
        dataset: What it ran on.
        image: The id of the image that it was made in.
        statement: The state of its signed statement.
        labels: Why it is not what it could be taken for, if it is not.
        version: The version; None: made from the run's date and what is frozen.
    """

    plan: Plan
    result: Result
    row: Row
    dataset: Dataset
    image: str
    statement: str
    labels: tuple[Label, ...]
    version: str | None = None

    @property
    def name(self) -> str:
        """The image's name, without its target."""
        return checked(self.plan.card.name, "the card's name")

    @property
    def target(self) -> str:
        """The name of the row."""
        return self.plan.row

    @property
    def infer(self) -> Path:
        """The pass."""
        return self.plan.results / "infer"

    @property
    def job(self) -> dict[str, Any]:
        """The job of the pass."""
        return dict(read_record(self.infer / "job.json", "job", next=_AGAIN))

    @property
    def date(self) -> str:
        """When the pass ended, as its record says."""
        found = (self.result.run.model_extra or {}).get("date")
        if not isinstance(found, str):
            raise CascadeportError(
                "The record of the run does not say when it was made.",
                where=str(self.infer / "run.json"),
                next=_AGAIN,
            )
        return found

    @property
    def full_version(self) -> str:
        """The version, with what must be seen in every tag."""
        version = self.version
        if version is None:
            made_of = digest.of_value(
                [self.job, self.image, self.result.run.digests.bundle, self.date]
            )
            version = f"{self.date[:10].replace('-', '.')}-{made_of[:8]}"
        return checked(f"{version}{labels.suffix(self.labels)}", "the version")


def checked(text: str, what: str) -> str:
    """A name that tags, folders and the inference protocol can say.

    Raises:
        CascadeportError: It is none.
    """
    if not _NAME.fullmatch(text):
        raise CascadeportError(
            f"{what[0].upper()}{what[1:]} cannot be that of an image.",
            where=text[:80],
            next="At most 64 letters, digits, '.', '_' and '-', the first a letter or digit.",
        )
    return text


def require_single(infer: Path) -> None:
    """Looks at a pass before anything is made of it.

    Raises:
        CascadeportError: Its network takes several pictures at once.
    """
    if companions.at_once(read_record(infer / "job.json", "job", next=_AGAIN)) > 1:
        raise CascadeportError(
            "The network takes several pictures at once, and a frozen image takes them as they "
            "come.",
            where=str(infer),
            next="Freeze the row without BATCH: its network is lowered from the same graph.",
        )


def write(subject: Subject, statement: Path | None, folder: Path) -> None:
    """Writes everything but golden/expected.json, which only the image itself can write.

    Args:
        statement: The signed statement; None: there is none.
        folder: It does not exist yet.

    Raises:
        CascadeportError: A network or a picture is not what the run used.
    """
    folder.mkdir(parents=True)
    job = {key: value for key, value in subject.job.items() if key not in _NOT_FROZEN}
    if job["runner"].get("streams") == AUTO:
        # What was measured: another machine may have other cores, but no time to try.
        chosen = subject.result.run.environment.get("streams", 1)
        job["runner"] = {**job["runner"], "streams": chosen}
    job["networks"] = _networks(subject, job["networks"], folder)
    write_json(
        folder / "frozen.json",
        {
            "format": _FORMAT,
            "name": subject.name,
            "title": subject.plan.card.title,
            "version": subject.full_version,
            "target": subject.target,
            "target_title": subject.result.title,
            "labels": labels.facts(subject.labels),
            "digests": {"bundle": subject.result.run.digests.bundle},
            "job": job,
        },
    )
    golden.write(subject.infer, subject.dataset, folder / "golden")
    write_json(folder / "about.json", about(subject))
    if statement is not None:
        shutil.copyfile(statement, folder / STATEMENT)


def _networks(
    subject: Subject, named: Sequence[Mapping[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """Copies the networks; returns them as the frozen job names them."""
    found = []
    for number, (network, one) in enumerate(zip(subject.plan.networks, named, strict=True)):
        place = "networks" if len(named) == 1 else f"networks/{number}"
        target = folder / place / network.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(network.path, target)
            same = digest.of_file(target) == one["sha256"]
        except FileNotFoundError:
            same = False
        if not same:
            raise CascadeportError(
                "The network that the run used is not there any more, or was made again.",
                where=str(network.path),
                next=f"Remove {subject.infer} and run the target again.",
            )
        found.append({"path": f"{place}/{network.path.name}", "sha256": one["sha256"]})
    return found


def about(subject: Subject) -> dict[str, Any]:
    """about.json: where all of it comes from."""
    result, row, run = subject.result, subject.row, subject.result.run
    latency = result.latency_ms.model_dump(mode="json") if result.latency_ms else None
    reference = result.model.reference
    return {
        "format": _FORMAT,
        "cascadeport": __version__,
        "digests": {
            "bundle": run.digests.bundle,
            "network": run.digests.network,
            "model": result.model_digest,
            "checkpoint": result.model.checkpoint_sha256,
            "image": subject.image,
            "dataset": result.dataset_digest,
            "pictures": result.pictures_digest,
            "settings": result.settings_digest,
        },
        "run": {
            "date": subject.date,
            "device": _device(subject),
            "status": row.status,
            "reason": row.reason,
            "dataset": result.dataset.name,
            "pictures": result.pictures,
            "map": result.map,
            "map50": result.map50,
            "map75": result.map75,
            "reference": reference.model_dump(mode="json") if reference else None,
            "verdict": row.verdict,
            "verdict_reason": row.verdict_reason,
            "chip_ips": result.chip_ips,
            "device_ips": result.device_ips,
            "end_to_end_ips": result.end_to_end_ips,
            "latency_ms": latency,
        },
        "environment": run.environment,
        "semantics": list(result.semantics),
        "licences": _licences(subject),
        "statement": subject.statement,
        "verify": [
            "ssh-keygen -Y verify -f allowed_signers -I cascadeport -n cascadeport-shipment "
            "-s SHA256SUMS.sig < SHA256SUMS, in the shipment's folder",
            "sha256sum -c SHA256SUMS, there",
            "cascadeport verify SHIPMENT, where Cascadeport and the run are",
        ],
    }


def _device(subject: Subject) -> str:
    environment = subject.result.run.environment
    title = subject.plan.target.title
    if subject.result.run.simulated:
        return f"a stand-in for {title} on {environment.get('cpu', 'a processor')}"
    provider = str(environment.get("provider", ""))
    processor = str(environment.get("cpu", ""))
    return ", ".join(filter(None, (title, provider, processor)))


def _licences(subject: Subject) -> list[dict[str, str]]:
    card = subject.plan.card
    checkpoint = card.checkpoint
    source = ", ".join(checkpoint.urls) if checkpoint and checkpoint.urls else f"card {card.name}"
    return [
        {
            "what": "Cascadeport, in /opt/cascadeport",
            "licence": "Apache-2.0",
            "source": "its LICENSE and NOTICE",
        },
        {
            "what": f"the model, {card.title}",
            "licence": "as whoever published its weights says",
            "source": source,
        },
        {
            "what": "the golden pictures",
            "licence": "that of each picture in its data set",
            "source": f"data set {subject.result.dataset.name}",
        },
        {
            "what": "packages of the image",
            "licence": "each package's own, listed in the shipment's SBOM",
            "source": "sbom/ of the shipment",
        },
    ]
