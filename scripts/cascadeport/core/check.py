"""What a check of the doctor is, and what it finds. Backends add checks of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cascadeport.base.errors import CascadeportError
from cascadeport.core.context import Context

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Args:
        check: Its name.
        status: `warn` lets a run go on; `fail` does not.
        finding: What was seen, a sentence.
        reason: Why it matters; empty when all is well.
        remedy: What to do about it; empty when all is well.
        group: What kind of check it is: `machine`, `device`, `containers`, `export`, `data`.
    """

    check: str
    status: Verdict
    finding: str
    reason: str = ""
    remedy: str = ""
    group: str = ""


@dataclass(frozen=True)
class Check:
    """One check: its name, which targets it concerns, and how it is done.

    Args:
        name: For findings.
        concerns: Whether it concerns what the command is about.
        look: Does the check.
        during_run: Whether it is done again when the timed pass begins: is the device idle?
        repair: Repairs what it found, without any risk to what is the user's, and says what it did;
            None: that is for people.
    """

    name: str
    concerns: Callable[[Context], bool]
    look: Callable[[Context], Finding]
    during_run: bool = False
    repair: Callable[[Context], str] | None = None

    def run(self, context: Context) -> Finding:
        """Carries it out; a check that cannot be carried out is a failure with its reason."""
        try:
            return self.look(context)
        except CascadeportError as error:
            where = f" ({error.where})" if error.where else ""
            details = "".join(f"; {detail}" for detail in error.details)
            return Finding(self.name, "fail", f"{error.what}{where}{details}", remedy=error.next)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            # A tool whose answer has another form than any release known here.
            return Finding(
                self.name,
                "fail",
                f"The check failed: {type(error).__name__}: {error}.",
                reason="What a tool or a file of this host says could not be understood.",
                remedy="Report this with the output of the tool that the check is about.",
            )


def not_checked_remotely(context: Context) -> Finding:
    """The finding for a host where no command can be run."""
    return Finding(
        "devices",
        "warn",
        f"Devices and driver were not checked: {context.host.host} runs no commands for us.",
        reason="An engine's tcp port builds and runs containers, and nothing else.",
        remedy=f"Run `cascadeport doctor --target {context.name}` on that machine, or give it as "
        "ssh:// in hosts.toml.",
    )


def idle(others: Sequence[str]) -> Finding:
    """Whether anybody else uses the device: `others` names who does."""
    if not others:
        return Finding("idle", "ok", "Nobody else uses the device.")
    return Finding(
        "idle",
        "warn",
        f"Others use the device: {', '.join(others)}.",
        reason="What is measured beside other work is INVALID.",
        remedy="Stop them, or wait until they are done.",
    )
