"""A target whose device takes a fixed time for a picture and leaves the processor free.

It is the CPU target in its own image, with a `sitecustomize` that lets onnxruntime's sessions sleep
for what is left of that time. Nodes have one such device each, as a generic resource.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cascadeport.base.paths import COMPOSE, REPOSITORY

KIND = "slow-device"
"""The generic resource: dockerd needs `--node-generic-resource=slow-device=1`."""
NAME = "slow"
"""The target."""

_SITE = """\
import time

import onnxruntime

_run = onnxruntime.InferenceSession.run


def run(self, *arguments, **options):
    until = time.perf_counter() + {seconds}
    found = _run(self, *arguments, **options)
    time.sleep(max(0.0, until - time.perf_counter()))
    return found


onnxruntime.InferenceSession.run = run
"""
_COMPOSE = """\
services:
  infer:
    extends: {{file: {base}, service: infer}}
    build:
      context: {context}
    environment:
      PYTHONPATH: /etc/slow:/opt/cascadeport:/opt/packages
    volumes:
      - {folder}/site:/etc/slow:ro
    deploy:
      resources:
        reservations:
          generic_resources:
            - discrete_resource_spec: {{kind: {kind}, value: 1}}
"""


def write(folder: Path, seconds: float) -> Path:
    """Writes the target below a folder; returns the table of targets, with the usual ones in it."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "sitecustomize.py").write_text(_SITE.format(seconds=seconds))
    compose = folder / "slow.yaml"
    base = os.path.relpath(COMPOSE / "cpu.yaml", folder)
    compose.write_text(_COMPOSE.format(base=base, folder=folder, kind=KIND, context=REPOSITORY))
    text = (REPOSITORY / "targets.toml").read_text(encoding="utf-8")
    row = re.search(r"^\[cpu\]\n(.*?)^\[", text, re.MULTILINE | re.DOTALL)
    assert row is not None
    own = row.group(1).replace("cpu.yaml", str(compose)).replace("CPU, onnxruntime", "slow device")
    path = folder / "targets.toml"
    path.write_text(f"{text}\n[{NAME}]\n{own}", encoding="utf-8")
    return path
