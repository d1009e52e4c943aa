"""`cascadeport pin`: writes the lock of the base images' digests, from their registries."""

from __future__ import annotations

import contextlib
import os

from cascadeport.base.errors import ExitCode
from cascadeport.base.paths import IMAGES, REPOSITORY
from cascadeport.base.progress import Reporter
from cascadeport.config import hosts
from cascadeport.config.options import Options, environment
from cascadeport.containers import bases, connection


def pin(options: Options, reporter: Reporter) -> ExitCode:
    """Resolves the base of every Dockerfile and writes images/bases.lock."""
    files = sorted(IMAGES.glob("*/Dockerfile"))
    named = [image for file in files for image in bases.defaults(file.read_text("utf-8")).values()]
    before = bases.read()
    host = hosts.find("default", hosts.load(REPOSITORY / hosts.FILE), environment.read(os.environ))
    with contextlib.closing(connection.connect(host)) as client:
        found = bases.write(named, client)
    for image, digest in found.items():
        was = before.get(image)
        change = "" if was == digest else f"  (was {was})" if was else "  (new)"
        print(f"{image} {digest}{change}")
    return ExitCode.OK
