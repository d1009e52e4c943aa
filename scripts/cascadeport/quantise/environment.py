"""The environment of the tools that quantise."""

from __future__ import annotations

from cascadeport.base.paths import PACKAGE
from cascadeport.core.environment import PythonEnvironment

ENVIRONMENT = PythonEnvironment("quantise", PACKAGE / "quantise" / "requirements.lock")
"""`.venv-quantise`: NNCF, and the runtimes of the CPU targets in the versions that they run on."""

SIZE = "0.8 GB"
"""What it takes on disk."""
