"""Where this checkout is."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPTS = REPOSITORY / "scripts"
PACKAGE = SCRIPTS / "cascadeport"
IMAGES = REPOSITORY / "images"
COMPOSE = REPOSITORY / "compose"
BUNDLE = REPOSITORY / "bundle"
