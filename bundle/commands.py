"""The commands that runners add to `python -m bundle`."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Callable, Dict, Iterator, NamedTuple, Tuple

from bundle.runners import runner_names


class BundleCommand(NamedTuple):
    """A command of `python -m bundle`.

    Args:
        name: Its name.
        help: What it does, for `--help`.
        arguments: The names of its arguments, all of them required.
        run: Runs it, given the values of the arguments, then those of the options. An error is
            raised as a BundleError.
        options: Further arguments, as `add_argument` of argparse takes them.
    """

    name: str
    help: str
    arguments: Tuple[str, ...]
    run: Callable[..., None]
    options: Tuple[Tuple[str, Dict[str, Any]], ...] = ()

    @property
    def names(self) -> Tuple[str, ...]:
        """The names of all values that `run` takes."""
        return self.arguments + tuple(name.lstrip("-") for name, _ in self.options)


def runner_commands() -> Iterator[BundleCommand]:
    """The commands of all runners.

    A runner that has some has a module `commands` with a list `COMMANDS`. That module is imported
    by every call of `python -m bundle`, so neither it nor its package may import a runtime, numpy
    or OpenCV; functions do that when they run.
    """
    for name in runner_names():
        module = "bundle.runners.{}.commands".format(name)
        if importlib.util.find_spec(module) is not None:
            yield from importlib.import_module(module).COMMANDS
