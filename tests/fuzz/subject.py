"""What a subject is, and the means they share."""

from __future__ import annotations

import random
import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from cascadeport.base.errors import CascadeportError

from bundle.errors import BundleError


class NonsenseError(AssertionError):
    """A case was accepted, and what was made of it cannot be right."""


class Subject(ABC):
    """A part of the program that reads what somebody else wrote.

    Args:
        folder: A folder of its own. `case` in it holds the files of the case at hand.

    Attributes:
        CPU_S: Processor seconds that a case may take. Real inputs of these sizes take milliseconds.
        MEMORY: Bytes that a case may need beyond what the process had.
    """

    CPU_S = 10.0
    MEMORY = 768 << 20

    def __init__(self, folder: Path) -> None:
        self.case = folder / "case"
        self.out = folder / "out"

    @abstractmethod
    def make(self, draw: random.Random) -> None:
        """Writes a case's files into `case`, which is empty."""

    @abstractmethod
    def run(self) -> None:
        """Has the program read the case.

        Raises:
            NonsenseError: It was accepted, and what was made of it cannot be right.
        """

    def prepare(self, name: str) -> None:
        """Makes the case of a name, e.g. `pictures-7-123`."""
        for folder in (self.case, self.out):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.make(random.Random(name))

    def outcome(self) -> str:
        """Runs the case: `accepted` or `refused`; anything else is an exception."""
        try:
            self.run()
        except (CascadeportError, BundleError) as error:
            if not error.what.strip():
                raise NonsenseError("it was refused without a word") from error
            return "refused"
        return "accepted"


def require(condition: bool, what: str) -> None:
    """Raises NonsenseError unless the condition holds."""
    if not condition:
        raise NonsenseError(what)
