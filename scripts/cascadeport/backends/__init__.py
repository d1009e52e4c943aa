"""The backends, a folder each: whatever is particular to a family of devices (core/backend.py)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend
from cascadeport.graph.lowering import Lowering

# Whatever obeys the contract can be verified by this one's runtime, on any machine.
_REFERENCE = "onnxruntime"


def names() -> list[str]:
    """The backends that there are: the folders beside this file."""
    folders = Path(__file__).parent.iterdir()
    return sorted(folder.name for folder in folders if (folder / "__init__.py").is_file())


def load(name: str) -> type[Backend[Target]]:
    """The class of a backend; its modules are imported only when it is asked for.

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
    """A lowering by its name, whichever backend brings it.

    Raises:
        CascadeportError: There is none.
    """
    known = {each.name: each for backend in every() for each in backend.lowerings}
    if name not in known:
        raise CascadeportError(
            f"There is no lowering {name!r}.", next=f"Known: {', '.join(sorted(known))}."
        )
    return known[name]()


def reference(target: Target) -> Backend[Target]:
    """The backend that runs graphs on this machine for those that only a device runs."""
    common = {key: getattr(target, key) for key in Target.model_fields}
    backend = load(_REFERENCE)
    return backend(backend.Row(**{**common, "backend": _REFERENCE}))
