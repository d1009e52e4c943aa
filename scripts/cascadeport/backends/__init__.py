"""The backends, one folder per family of devices (core/backend.py)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend
from cascadeport.graph.lowering import Lowering

# This backend's runtime verifies every graph that obeys the contract, on any machine.
_REFERENCE = "onnxruntime"


def names() -> list[str]:
    """The names of all backends: the packages beside this file."""
    folders = Path(__file__).parent.iterdir()
    return sorted(folder.name for folder in folders if (folder / "__init__.py").is_file())


def load(name: str) -> type[Backend[Target]]:
    """The class of a backend, whose modules are imported only now.

    Raises:
        CascadeportError: There is no such backend.
    """
    if name not in names():
        raise CascadeportError(
            "",
            details=[f"backend: there is no backend '{name}'; {suggest(name, names())}"],
        )
    backend: type[Backend[Target]] = importlib.import_module(f"{__name__}.{name}").BACKEND
    return backend


def row(name: str) -> type[Target]:
    """The schema of a backend's rows in targets.toml."""
    return load(name).Row


def of(target: Target) -> Backend[Target]:
    """The backend of a target's row."""
    return load(target.backend)(target)


def every() -> Iterator[type[Backend[Target]]]:
    """All of them, by name."""
    return (load(name) for name in names())


def lowering(name: str) -> Lowering:
    """A lowering of any backend by its name.

    Raises:
        CascadeportError: There is no such lowering.
    """
    known = {kind.name: kind for backend in every() for kind in backend.lowerings}
    if name not in known:
        raise CascadeportError(
            f"Unknown lowering {name!r}.", next=f"Known: {', '.join(sorted(known))}."
        )
    return known[name]()


def reference(target: Target) -> Backend[Target]:
    """The backend that verifies on this machine, for targets whose graphs only the device runs."""
    common = {key: getattr(target, key) for key in Target.model_fields}
    backend = load(_REFERENCE)
    return backend(backend.Row(**{**common, "backend": _REFERENCE}))
