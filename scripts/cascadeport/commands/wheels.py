"""`cascadeport wheels`: fetches what images are built from, for builds without an index."""

from __future__ import annotations

from cascadeport import backends
from cascadeport.base import architecture
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.containers import wheels


def fetch(options: Options, reporter: Reporter, target: str | None) -> ExitCode:
    """Downloads the wheels of images.

    Args:
        target: Whose image; None: every target's.
    """
    known = targets.load(options.targets, backends.row)
    rows = targets.selected(target, known)
    images = [backends.of(row).image(options) for row in rows]
    for name in dict.fromkeys(folder for image in images for folder in wheels.folders(image)):
        folder = wheels.FOLDER / name
        with reporter.stage(f"download the wheels of images/{name}"):
            wheels.download(name, folder, architecture.of_platform(options.platform))
        print(f"{folder}: {len(list(folder.glob('*.whl')))} wheels")
    return ExitCode.OK
