"""manifest.json: what a shipment is, and every file of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from cascadeport.results.schema import Record, read

NAME = "manifest.json"


class LayerFacts(Record):
    """A layer: digest (diff id) and size, uncompressed; and whether the archive has it."""

    digest: str
    size: int
    shipped: bool = True


class ImageFacts(Record):
    """The image. `manifest` is the digest of its OCI manifest."""

    name: str
    id: str
    manifest: str
    architecture: str
    os: str
    layers: list[LayerFacts]
    shell: bool


class ArchiveFacts(Record):
    """The image's archive: its parts in their order; digest and size before compression."""

    compression: Literal["zstd", "gzip"]
    compressor: str
    sha256: str
    size: int
    parts: list[str]
    part_size: int | None


class FormerFacts(Record):
    """The shipment that an update builds on."""

    version: str
    image: str


class FileFacts(Record):
    """A file of the shipment."""

    path: str
    size: int
    sha256: str


class Manifest(Record):
    """manifest.json. `labels` as in frozen.json; `rebuild` are the words that froze the run."""

    format: Literal[1] = 1
    cascadeport: str
    name: str
    title: str
    version: str
    target: str
    labels: list[dict[str, str]]
    image: ImageFacts
    archive: ArchiveFacts
    since: FormerFacts | None
    statement: str
    digests: dict[str, str | None]
    rebuild: list[str]
    files: list[FileFacts]

    @property
    def missing(self) -> list[str]:
        """The digests of layers that the archive does not have."""
        return [layer.digest for layer in self.image.layers if not layer.shipped]


def load(folder: Path) -> Manifest:
    """Reads the manifest of a shipment.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    return read(folder / NAME, Manifest, "manifest of the shipment")


def as_json(one: Manifest) -> dict[str, Any]:
    """The manifest as JSON."""
    return one.model_dump(mode="json")
