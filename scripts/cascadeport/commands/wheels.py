"""`cascadeport wheels`: fetches what images are built from, for builds without an index."""

from __future__ import annotations

from cascadeport import backends
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.containers import wheels


def fetch(options: Options, reporter: Reporter) -> ExitCode:
    """Fetches the wheels of a target's image."""
    known = targets.load(options.targets, backends.row)
    target = targets.find(options.target, known)
    for name in wheels.folders(target.image):
        folder = wheels.FOLDER / name
        with reporter.stage(f"fetch the wheels of images/{name}"):
            wheels.download(name, folder)
        print(f"{folder}: {len(list(folder.glob('*.whl')))} wheels")
    return ExitCode.OK
