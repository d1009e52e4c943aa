"""The shipment: a folder with the image and everything that an operator needs to trust it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from cascadeport import __version__
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors, write_json, write_text
from cascadeport.containers import wheels
from cascadeport.core.context import Context
from cascadeport.ship import build, contents, labels, manifest, papers, parts, signature
from cascadeport.ship.build import Made
from cascadeport.ship.contents import Subject
from cascadeport.ship.manifest import Manifest
from cascadeport.ship.parts import Compression
from cascadeport.ship.rootfs import Rootfs
from cascadeport.ship.sbom import cyclonedx, packages, spdx
from cascadeport.ship.sbom.packages import Package

_SUFFIX: dict[Compression, str] = {"zstd": "zst", "gzip": "gz"}
_REPORT = ("html", "json", "csv", "md")


@dataclass(frozen=True)
class Wanted:
    """How a shipment is to be packed.

    Args:
        dist: The folder that it is put into.
        key: The key that signs it; None: nobody does.
        part_size: The most bytes of a part of the archive; None: one part.
        compression: Of the archive.
        former: The shipment that the receiver has already; None: everything is shipped.
        rebuild: The words that freeze the same run again.
    """

    dist: Path
    key: Path | None
    part_size: int | None
    compression: Compression
    former: Manifest | None
    rebuild: tuple[str, ...]


def folder_name(subject: Subject) -> str:
    """The shipment's folder."""
    return f"{subject.name}-{subject.target}-{subject.full_version}"


def pack(
    context: Context, subject: Subject, made: Made, statement: Path | None, wanted: Wanted
) -> Path:
    """Writes a shipment; returns its folder.

    Raises:
        CascadeportError: The disk is full, the key cannot be used, another shipment of this name
            is there, …
    """
    target = wanted.dist / folder_name(subject)
    _check_place(target, made)
    with _writing(target) as folder:
        archive = _archive(made, wanted, folder, context)
        inventory = _inventory(context, subject, made)
        sbom = folder / "sbom"
        sbom.mkdir()
        arguments = (made.image.name, made.image.id, subject.date, inventory)
        write_json(sbom / f"{subject.name}.spdx.json", spdx.document(*arguments))
        write_json(sbom / f"{subject.name}.cdx.json", cyclonedx.document(*arguments))
        (folder / "report").mkdir()
        for suffix in _REPORT:
            name = f"comparison.{suffix}"
            shutil.copyfile(subject.plan.folder / name, folder / "report" / name)
        shutil.copyfile(made.frozen / "about.json", folder / "about.json")
        if statement is not None:
            shutil.copyfile(statement, folder / contents.STATEMENT)
        _write_papers(folder, subject, made, archive, statement, wanted)
        write_json(
            folder / manifest.NAME,
            manifest.as_json(_manifest(folder, subject, made, archive, wanted)),
        )
        _sums(folder)
        if wanted.key is not None:
            signature.sign(folder, wanted.key)
    return target


def _check_place(target: Path, made: Made) -> None:
    if not target.exists():
        return
    try:
        same = manifest.load(target).image.id == made.image.id
    except CascadeportError:
        same = False
    if not same:
        raise CascadeportError(
            "There is something else of this name already.",
            where=str(target),
            next="Give this one another version (--tag), or move that away.",
        )


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of the target once it is whole."""
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(f".{target.name}.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.tmp-", dir=target.parent))
        try:
            temporary.chmod(0o755)
            yield temporary
            old = target.with_name(f".{target.name}.old-")
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
                target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _archive(made: Made, wanted: Wanted, folder: Path, context: Context) -> manifest.ArchiveFacts:
    name = f"image.tar.{_SUFFIX[wanted.compression]}"
    (folder / "image").mkdir()
    with (
        context.reporter.stage(f"pack {made.image.name}"),
        contextlib.closing(parts.Parts(folder / "image" / name, wanted.part_size)) as out,
        parts.compressing(out, wanted.compression) as packed,  # type: ignore[arg-type]
    ):
        plain = parts.Hashed(packed)
        made.image.write(plain, _former_layers(made, wanted))  # type: ignore[arg-type]
    library = zstandard.ZSTD_VERSION
    return manifest.ArchiveFacts(
        compression=wanted.compression,
        compressor=f"libzstd {'.'.join(map(str, library))}"
        if wanted.compression == "zstd"
        else "zlib",
        sha256=plain.digest,
        size=plain.size,
        parts=[path.relative_to(folder).as_posix() for path in out.paths],
        part_size=wanted.part_size,
    )


def _former_layers(made: Made, wanted: Wanted) -> list[str]:
    """The digests of this image's layers that the former shipment's image has."""
    if wanted.former is None:
        return []
    known = {layer.digest for layer in wanted.former.image.layers}
    return [layer.digest for layer in made.image.layers if layer.digest in known]


def _inventory(context: Context, subject: Subject, made: Made) -> list[Package]:
    image = context.target.image
    python = str(subject.result.run.environment.get("python", ""))
    with Rootfs(made.image.layers) as files:
        found = packages.of_image(files, wheels.locks(image), python)
    digests = subject.result.run.digests
    own = [
        Package(
            "application",
            "cascadeport-bundle",
            __version__,
            "Apache-2.0",
            remark=f"in /opt/cascadeport/bundle; its own digest: {digests.bundle}",
        )
    ]
    for network in subject.job["networks"]:
        name = Path(network["path"]).name
        own.append(Package("network", name, sha256=(network["sha256"],)))
    return [*own, *found]


def _write_papers(
    folder: Path,
    subject: Subject,
    made: Made,
    archive: manifest.ArchiveFacts,
    statement: Path | None,
    wanted: Wanted,
) -> None:
    former = wanted.former
    facts: dict[str, Any] = {
        "name": f"{subject.name}-{subject.target}".lower(),
        "title": subject.plan.card.title,
        "target": subject.target,
        "target_title": subject.result.title,
        "version": subject.full_version,
        "repository": build.repository(subject),
        "image": made.image.id,
        "manifest": made.image.manifest_digest,
        "labels": labels.facts(subject.labels),
        "bytes": sum(layer.size for layer in made.image.layers),
        "compression": archive.compression,
        "parts": archive.parts,
        "shell": made.shell,
        "signer": signature.fingerprint(wanted.key) if wanted.key else None,
        "has_statement": statement is not None,
        "former": former
        and {
            "version": former.version,
            "image": former.image.id,
            "layers": [one.removeprefix("sha256:") for one in _former_layers(made, wanted)],
        },
    }
    papers.write(folder, facts, made.runtime)


def _manifest(
    folder: Path,
    subject: Subject,
    made: Made,
    archive: manifest.ArchiveFacts,
    wanted: Wanted,
) -> Manifest:
    image, former = made.image, _former_layers(made, wanted)
    digests = contents.about(subject)["digests"]
    return Manifest(
        cascadeport=__version__,
        name=subject.name,
        title=subject.plan.card.title,
        version=subject.full_version,
        target=subject.target,
        labels=labels.facts(subject.labels),
        image=manifest.ImageFacts(
            name=image.name,
            id=image.id,
            manifest=image.manifest_digest,
            architecture=image.config["architecture"],
            os=image.config["os"],
            layers=[
                manifest.LayerFacts(
                    digest=layer.digest, size=layer.size, shipped=layer.digest not in former
                )
                for layer in image.layers
            ],
            shell=made.shell,
        ),
        archive=archive,
        since=None
        if wanted.former is None
        else manifest.FormerFacts(version=wanted.former.version, image=wanted.former.image.id),
        statement=subject.statement,
        digests=digests,
        rebuild=list(wanted.rebuild),
        files=[
            manifest.FileFacts(
                path=path.relative_to(folder).as_posix(),
                size=path.stat().st_size,
                sha256=digest.of_file(path),
            )
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ],
    )


def _sums(folder: Path) -> None:
    """SHA256SUMS: the same list as the manifest's, and the manifest, as sha256sum reads it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{digest.of_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    write_text(folder / signature.SUMS, "".join(lines))
