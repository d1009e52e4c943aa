"""The frozen image: configuration and layers, its names, and the archive that engines load.

The archive has two tables of contents for the same files: that of an OCI image layout, and the one
that `docker load` has read since Docker 1.10. docker, podman and skopeo each find what they expect.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import IO, Any

from cascadeport.ship.layers import EPOCH, Layer

CREATED = "1980-01-01T00:00:00Z"
"""When every frozen image says it was made; when the run was made is in its about.json."""
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_REFERENCE = "org.opencontainers.image.ref.name"
_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Image:
    """An image that is identified by what it is made of.

    Args:
        name: Its name and tag.
        config: Its configuration.
        layers: From the lowest.
    """

    name: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]

    @property
    def _config(self) -> bytes:
        return _json(self.config)

    @property
    def id(self) -> str:
        """What engines call its id: the digest of its configuration, which names the layers."""
        return _digest(self._config)

    @property
    def _manifest(self) -> bytes:
        return _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, self._config),
                "layers": [
                    {"mediaType": _LAYER, "digest": layer.digest, "size": layer.size}
                    for layer in self.layers
                ],
            }
        )

    @property
    def manifest_digest(self) -> str:
        """The digest of its OCI manifest: its name in a registry, with layers uncompressed."""
        return _digest(self._manifest)

    def write(self, out: IO[bytes], without: Collection[str] = ()) -> None:
        """Writes its archive; the same image gives the same bytes.

        Args:
            out: Only written to, in order.
            without: Digests of layers that whoever receives it has already.
        """
        tag = self.name.rpartition(":")[2]
        manifest = _descriptor(_MANIFEST, self._manifest)
        manifest["annotations"] = {_NAME: f"docker.io/{self.name}", _REFERENCE: tag}
        files: dict[str, bytes | Layer] = {
            "index.json": _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [manifest]}),
            "manifest.json": _json(
                [
                    {
                        "Config": _blob(self.id),
                        "RepoTags": [self.name],
                        "Layers": [_blob(layer.digest) for layer in self.layers],
                    }
                ]
            ),
            "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
            _blob(self.id): self._config,
            _blob(self.manifest_digest): self._manifest,
            **{_blob(one.digest): one for one in self.layers if one.digest not in without},
        }
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            for folder in ("blobs", "blobs/sha256"):
                member = _member(folder, 0o755)
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            for name in sorted(files):
                _add(tar, name, files[name])


def frozen(name: str, base: Mapping[str, Any], layers: tuple[Layer, ...], own: Any) -> Image:
    """An image on top of the one that the run was made in.

    Args:
        name: Its name and tag.
        base: The configuration of the run's image.
        layers: All layers.
        own: What its `config` says instead of the base's.
    """
    inherited = base.get("config") or {}
    kept = {key: inherited[key] for key in ("Env", "WorkingDir", "User") if inherited.get(key)}
    config = {
        "architecture": base["architecture"],
        "os": base["os"],
        **({"variant": base["variant"]} if base.get("variant") else {}),
        "created": CREATED,
        "config": {**kept, **own},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": [{"created": CREATED, "created_by": "cascadeport freeze"} for _ in layers],
    }
    return Image(name, config, layers)


def _add(tar: tarfile.TarFile, name: str, content: bytes | Layer) -> None:
    member = _member(name, 0o644)
    if isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        return
    member.size = content.size
    with content.path.open("rb") as file:
        tar.addfile(member, file)


def _member(name: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = EPOCH, mode
    return member


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
