"""about: what this image is, where it comes from, and how to verify that."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any, Dict, List

from bundle.digest import bundle_digest, file_digest
from bundle.frozen.layout import Frozen, read_json

_WIDTH = 24


def about(frozen: Frozen) -> Dict[str, Any]:
    """Everything that is known of this image, for `--json`: about.json and what is here now.

    Raises:
        BundleError: about.json cannot be read.
    """
    from bundle.environment import versions

    data = read_json(os.path.join(frozen.folder, "about.json"))
    statement = os.path.join(frozen.folder, "statement.dsse.json")
    return {
        "format": data.pop("format"),
        "name": frozen.name,
        "title": frozen.title,
        "version": frozen.version,
        "target": frozen.target,
        "target_title": frozen.target_title,
        "labels": [asdict(label) for label in frozen.labels],
        "classes": len(frozen.job.class_names),
        "here": {
            "bundle": bundle_digest(),
            "networks": [_network(network.path) for network in frozen.job.runner.networks],
            "networks as frozen": list(frozen.network_digests),
            "statement": file_digest(statement) if os.path.exists(statement) else None,
            "runtime": frozen.job.runner.name,
            "versions": versions(),
        },
        **data,
    }


def _network(path: str) -> str:
    try:
        return file_digest(path)
    except OSError as failure:
        return "unreadable: {}".format(failure.strerror)


def text(content: Dict[str, Any]) -> str:
    """`about` for people: the warnings first, then every section."""
    lines: List[str] = []
    for label in content["labels"]:
        lines += _banner("{}: {}".format(label["name"].upper(), label["reason"]))
    lines.append("{} {}".format(content["name"], content["version"]))
    lines.append("{}, on {}".format(content["title"], content["target_title"]))
    for key, value in content.items():
        if key in ("format", "name", "title", "version", "target_title", "labels"):
            continue
        lines += _section(key, value)
    return "\n".join(lines)


def _banner(warning: str) -> List[str]:
    rule = "!" * 72
    return [rule, "!! THIS IMAGE IS {}".format(warning), rule, ""]


def _section(key: str, value: Any) -> List[str]:
    if isinstance(value, dict):
        return ["", key] + [
            "  {}  {}".format(str(k).ljust(_WIDTH), _value(v)) for k, v in value.items()
        ]
    if isinstance(value, list):
        return ["", key] + ["  {}".format(_value(one)) for one in value]
    return ["  {}  {}".format(key.ljust(_WIDTH), _value(value))]


def _value(value: Any) -> str:
    """A value in one line. What does not exist is called `none`, never 0."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join("{} {}".format(key, _value(one)) for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value) or "none"
    if isinstance(value, float):
        return "{:.6g}".format(value)
    return str(value)
