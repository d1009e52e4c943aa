"""Keeps OpenVINO from reporting its use."""

from __future__ import annotations

import sys


def silence() -> None:
    """Disables telemetry; call it before openvino is imported.

    The import alone writes a file to the user's home folder and sends an event, through the package
    openvino-telemetry. OpenVINO skips that where the package cannot be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
