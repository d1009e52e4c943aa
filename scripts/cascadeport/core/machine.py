"""The machine that a target's devices are in: this one, or one that ssh reaches."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

from cascadeport.base import architecture
from cascadeport.base.errors import CascadeportError
from cascadeport.config import hosts

_SECONDS = 20
# What a shell, and ssh itself, answer with.
_NOT_FOUND, _NO_SSH = 127, 255


@dataclass(frozen=True)
class Answer:
    """What a command said on the machine."""

    code: int
    output: str


@dataclass(frozen=True)
class Node:
    """A device node: its permissions and its group's number."""

    mode: int
    group: int


@dataclass(frozen=True)
class Machine:
    """Runs short commands where the devices are.

    Args:
        host: The target's host.
        path: Where programs of this machine are looked for.
    """

    host: hosts.Host
    path: str = os.defpath

    @property
    def reachable(self) -> bool:
        """Whether commands can be run there: an engine's tcp port runs none."""
        return self.host.local or self.host.host.startswith("ssh://")

    @property
    def name(self) -> str:
        """How sentences call it."""
        return "this machine" if self.host.local else self.host.host

    def run(self, *argv: str) -> Answer | None:
        """Runs a command; None: there is no such program.

        Raises:
            CascadeportError: It does not come back, or the machine cannot be reached.
        """
        try:
            done = subprocess.run(
                argv if self.host.local else [*self._ssh(), shlex.join(argv)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": self.path},
            )
        except subprocess.TimeoutExpired as error:
            raise CascadeportError(
                f"{argv[0]} did not answer within {_SECONDS} s.",
                where=self.name,
                next="Perhaps the device hangs: see the kernel's log, reset it or reboot.",
            ) from error
        except FileNotFoundError:
            if self.host.local:
                return None
            raise CascadeportError(
                "ssh is not installed on this machine.", next="Install an OpenSSH client."
            ) from None
        except OSError as error:
            raise CascadeportError(
                f"{argv[0]} cannot be run: {error.strerror}.",
                where=self.name,
                next="Run it by hand and see what it says.",
            ) from error
        if not self.host.local:
            if done.returncode == _NO_SSH:
                raise CascadeportError(
                    "The host cannot be reached by ssh.",
                    where=f"{self.host.host}: {' '.join(done.stderr.split())[:200]}",
                    next="Try it by hand: the same ssh, keys and config are used.",
                )
            if done.returncode == _NOT_FOUND:
                return None
        return Answer(done.returncode, done.stdout + done.stderr)

    @property
    def architecture(self) -> str:
        """Its architecture; this machine's where it cannot be asked."""
        if not self.host.local and self.reachable:
            answer = self.run("uname", "-m")
            found = re.findall(
                r"^(x86_64|aarch64)\s*$", answer.output if answer else "", re.MULTILINE
            )
            if found:
                return str(found[-1])
        return architecture.of_platform(None)

    def text(self, path: str) -> str | None:
        """A file's content; None: it cannot be read."""
        answer = self.run("cat", path)
        return answer.output if answer is not None and answer.code == 0 else None

    def node(self, path: str) -> Node | None:
        """A device node; None if it does not exist.

        Raises:
            CascadeportError: The machine's answer cannot be understood.
        """
        answer = self.run("stat", "-L", "-c", "%a %g", path)
        if answer is None or answer.code != 0:
            return None
        # A login shell may print a greeting, and ssh a warning.
        found = re.search(r"^([0-7]+) (\d+)\s*$", answer.output, flags=re.MULTILINE)
        if found is None:
            raise CascadeportError(
                f"stat gave an unexpected answer for {path}.",
                where=f"{self.name}: {' '.join(answer.output.split())[:200]}",
                next="Run stat -L -c '%a %g' on it by hand.",
            )
        return Node(int(found[1], 8), int(found[2]))

    def _ssh(self) -> list[str]:
        address = urlsplit(self.host.host)
        port = ["-p", str(address.port)] if address.port else []
        user = f"{address.username}@" if address.username else ""
        # BatchMode: a check must not wait for a password. Behind `--` nothing is an option.
        return ["ssh", "-o", "BatchMode=yes", *port, "--", f"{user}{address.hostname}"]
