"""Images: what they are made from, as a digest, and how they are built.

Building goes through the docker command line, because the SDK has no BuildKit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.text import redacted
from cascadeport.config.compose import Build
from cascadeport.containers import bases
from cascadeport.core.task import Event

# Left out of a recipe: the bundle has a digest of its own in every stage key, and wheels are fixed
# by the lock's hashes wherever they come from.
_NOT_IN_RECIPE = ("bundle",)
_WHEELS = "WHEELS"
# Settings of this machine's pip that hold paths, which a build cannot see.
_OF_THIS_MACHINE = ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CERT")
_TAIL = 25
_ASKED_S = 30


@dataclass(frozen=True)
class Recipe:
    """How one image is built.

    Args:
        name: The image's name.
        context: The folder that the build may copy from.
        dockerfile: Relative to the context.
        target: The build stage; None: the last one.
        arguments: Build arguments that have a value.
        known: Digests of copied folders that are made only when the image is built.
        platform: Docker's name of the platform it is for; None: the engine's own.
    """

    name: str
    context: Path
    dockerfile: str
    target: str | None
    arguments: Mapping[str, str]
    known: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None

    @property
    def digest(self) -> str:
        """The digest of everything the image is made from, computed without an engine."""
        text = (self.context / self.dockerfile).read_text(encoding="utf-8")
        given = {k: v for k, v in self.arguments.items() if not k.startswith(("PIP_", _WHEELS))}
        sources = {}
        for source in _copied(text, {**bases.arguments(text), **given}):
            path = self.context / source
            if source.split("/")[0] not in _NOT_IN_RECIPE:
                sources[source] = self._known_digest(source) or _of_path(path)
        parts = {"dockerfile": text, "target": self.target, "arguments": given, "sources": sources}
        return digest.of_value({**parts, "platform": self.platform} if self.platform else parts)

    def _known_digest(self, source: str) -> str | None:
        """The digest of what is made later and holds a path, or whose names it begins with."""
        fits = [name for name in self.known if source.startswith(name)]
        return self.known[max(fits, key=len)] if fits else None


def recipe(
    name: str,
    build: Build,
    folder: Path,
    variables: Mapping[str, str],
    known: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe that a service's `build` declares.

    Args:
        name: The image's name.
        build: The declaration.
        folder: The compose file's folder.
        variables: Where build arguments without a value get theirs; unset or empty ones are left
            out, so that the Dockerfile's default holds.
        known: See `Recipe`.
    """
    given = {key: value for key, value in variables.items() if key not in _OF_THIS_MACHINE}
    if variables.get(_WHEELS):
        # A wheelhouse has a folder per Dockerfile, and then there is no index.
        house = f"{variables[_WHEELS]}/{Path(build.dockerfile).parent.name}"
        given |= {_WHEELS: house, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
    if variables.get("BUILD_PIP_CERT"):
        given["PIP_CERT"] = variables["BUILD_PIP_CERT"]
    context = (folder / build.context).resolve()
    lock = bases.read()
    pinned = bases.pinned((context / build.dockerfile).read_text(encoding="utf-8"), lock)
    arguments = {}
    for key, value in build.args.items():
        found = given.get(key) or pinned.get(key) if value is None else value
        if found:
            arguments[key] = f"{found}@{lock[found]}" if found in lock else found
    return Recipe(
        name=name,
        context=context,
        dockerfile=build.dockerfile,
        target=build.target,
        arguments=arguments,
        known=known or {},
    )


def _copied(text: str, arguments: Mapping[str, str]) -> list[str]:
    """The paths of the context that a Dockerfile copies, with arguments substituted."""
    joined = text.replace("\\\n", " ")
    found = []
    for line in re.findall(r"^COPY (.+)$", joined, flags=re.MULTILINE):
        words = line.split()
        if any(word.startswith("--from=") for word in words):
            continue
        for word in [word for word in words if not word.startswith("--")][:-1]:
            if _WHEELS in word:
                continue
            put = re.sub(r"\$\{?(\w+)\}?", lambda match: arguments.get(match.group(1), ""), word)
            found.append(put.strip("/"))
    return found


def _of_path(path: Path) -> str:
    if path.is_file():
        return digest.of_file(path)
    # A name with a wildcard stands for the files that have such a name.
    wild = any(letter in path.name for letter in "*?[")
    root = path.parent if wild else path
    sha = hashlib.sha256()
    for file in sorted(root.glob(path.name) if wild else root.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            sha.update(f"{file.relative_to(root).as_posix()} {digest.of_file(file)}\n".encode())
    return sha.hexdigest()


def command() -> tuple[list[str], dict[str, str]]:
    """The docker command line to build with, and its environment: BuildKit where it has one.

    Raises:
        CascadeportError: No docker command line was found.
    """
    candidates = []
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = shutil.which("docker", path=folder)
        if path and path not in candidates:
            candidates.append(path)
    if not candidates:
        raise CascadeportError(
            "There is no docker command on this machine.",
            next="Install Docker's command line (the engine itself may be on another host).",
        )
    for path in candidates:
        if _has_buildkit(path):
            return [path], {"DOCKER_BUILDKIT": "1"}
    return [candidates[0]], {"DOCKER_BUILDKIT": "0"}


def _has_buildkit(path: str) -> bool:
    # Up to 22 BuildKit is inside; from 23 on it is the plugin buildx.
    version = _asked(path, "--version")
    match = re.search(r"version (\d{1,4})\.", version or "")
    if match and int(match.group(1)) < 23:
        return True
    return _asked(path, "buildx", "version") is not None


def _asked(*argv: str) -> str | None:
    """What a command prints; None: it fails, hangs, or cannot be run."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", check=False, timeout=_ASKED_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def build(
    recipe: Recipe,
    host: Sequence[str],
    labels: Mapping[str, str],
    log: Path,
    on_event: Callable[[Event], None],
) -> str:
    """Builds an image and returns its id.

    Args:
        host: The engine, as options of the docker command line.
        labels: More labels for the image.
        log: Receives what the build prints; kept.
        on_event: Receives progress.

    Raises:
        CascadeportError: A step failed, the base is missing, the disk is full, …
    """
    program, env = command()
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cascadeport-build-") as folder:
        id_file = Path(folder) / "id"
        argv = [*program, *host, "build", "--tag", recipe.name, "--iidfile", str(id_file)]
        argv += ["--file", str(recipe.context / recipe.dockerfile)]
        if env["DOCKER_BUILDKIT"] == "1":
            argv += ["--progress", "plain"]
        else:
            argv += ["--force-rm"]
        if "PIP_NO_INDEX" in recipe.arguments:
            argv += ["--network", "none"]
        elif os.environ.get("BUILD_NETWORK"):
            argv += ["--network", os.environ["BUILD_NETWORK"]]
        if recipe.target:
            argv += ["--target", recipe.target]
        if recipe.platform:
            argv += ["--platform", recipe.platform]
        for key in recipe.arguments:
            # Without a value the docker command takes it from its environment: an index's address
            # may hold a password, and every user of a machine sees all command lines.
            argv += ["--build-arg", key]
        for key, value in labels.items():
            argv += ["--label", f"{key}={value}"]
        env = {**recipe.arguments, **env}
        code, tail = _run([*argv, str(recipe.context)], env, log, on_event)
        if code != 0:
            raise _explained(recipe, tail, log)
        return id_file.read_text(encoding="ascii").strip()


_STEP = re.compile(r"^(?:Step (\d+)/(\d+) :|#\d+ \[(?:[\w.-]+ )?(\d+)/(\d+)\]) ?(.*)")


def _run(
    argv: Sequence[str], env: Mapping[str, str], log: Path, on_event: Callable[[Event], None]
) -> tuple[int, list[str]]:
    tail: deque[str] = deque(maxlen=400)
    process = subprocess.Popen(
        argv,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        with log.open("wb") as out:
            for raw in process.stdout:
                line = redacted(raw.decode("utf-8", "replace").rstrip())
                out.write(f"{line}\n".encode())
                tail.append(line)
                step = _STEP.match(line)
                if step:
                    done, total = (step[1], step[2]) if step[1] else (step[3], step[4])
                    on_event(
                        {
                            "event": "progress",
                            "phase": "build image",
                            "done": int(done),
                            "total": int(total),
                        }
                    )
        return process.wait(), list(tail)
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


# What a failed build says about why, most specific first: (pattern, sentence, remedy).
_CAUSES = (
    (
        r"exec (?:/\S+: )?(?:user process caused: )?.{0,40}exec format error|exec format error",
        "The engine's host cannot run programs of the platform that the image is for.",
        "Leave --platform out, name the host's own, or install an emulator there (the package "
        "qemu-user-static with binfmt).",
    ),
    (
        r"[Nn]o space left on device",
        "The disk of the Docker Engine is full.",
        "Free some space there (docker system df, docker builder prune), then run again.",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        "A package differs from the one that the lock names.",
        "Do not trust that index: the package was replaced or damaged on the way. With a "
        "wheelhouse, fetch it again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "The package index's certificate is not trusted inside the build.",
        "Give a base image that knows your company's CA (BASE_IMAGE=), or build from a "
        "wheelhouse: see docs/containers.md.",
    ),
    (
        r"No matching distribution found|Could not find a version",
        "A package of the lock could not be found.",
        "Without a network, fetch the wheelhouse first on a machine that has one: see "
        "docs/containers.md.",
    ),
    (
        r"Temporary failure in name resolution|NewConnectionError|Network is unreachable",
        "The build could not reach the package index.",
        "Give an index that is reachable (PIP_INDEX_URL=), or build from a wheelhouse: see "
        "docs/containers.md.",
    ),
    (
        r"(?:COPY|ADD) failed|failed to compute cache key|failed to calculate checksum"
        r"|failed to walk",
        "A file that the image is built from is missing.",
        "See the line of the log; the user's own files are listed in docs/containers.md.",
    ),
)
# A base that is not there. The names of hosts and the order of words differ between versions.
_NO_BASE = (
    r"pull access denied|manifest (?:for \S+ )?(?:unknown|not found)|failed to resolve source"
    r"|failed to do request|dial tcp|no such host|i/o timeout|request canceled while waiting"
    r"|failed to authorize|repository does not exist|error pulling image|Client\.Timeout"
    r"|failed to load metadata|failed to solve with frontend dockerfile.*resolv"
)


def _explained(recipe: Recipe, tail: Sequence[str], log: Path) -> CascadeportError:
    text = "\n".join(tail)
    lines = [line for line in tail if line.strip()][-_TAIL:]
    where = f"{recipe.dockerfile}; its log: {log}"
    for pattern, what, remedy in _CAUSES:
        found = re.search(pattern, text)
        if found:
            line = next((line for line in tail if re.search(pattern, line)), "")
            return CascadeportError(what, where=f"{where}: {line.strip()[:300]}", next=remedy)
    failed = [line for line in tail if re.search(r"The command .* returned a non-zero code", line)]
    failed += [
        line for line in tail if re.search(r"executor failed running|did not complete", line)
    ]
    if not failed and re.search(_NO_BASE, text):
        return CascadeportError(
            f"The base image {_base(recipe)} is not on that host and could not be pulled.",
            where=f"{where}: {lines[-1].strip()[:300] if lines else ''}",
            next="Load or pull it there, or give one that is there: BASE_IMAGE=name:tag.",
        )
    if (
        "permission denied" in text and "docker.sock" in text
    ) or "Cannot connect to the Docker" in text:
        return CascadeportError(
            "The Docker Engine does not answer the build.",
            where=f"{where}: {lines[-1].strip()[:300] if lines else ''}",
            next="See `cascadeport doctor`.",
        )
    step = failed[-1].strip()[:300] if failed else (lines[-1].strip()[:300] if lines else "")
    said = [line.strip()[:200] for line in lines if "returned a non-zero code" not in line][-6:]
    return CascadeportError(
        f"A step of the image {recipe.name} failed: {step}",
        where=f"{where}: {' | '.join(said)}",
        next="Read the log; the same command repeats the build from the failed step.",
    )


def _base(recipe: Recipe) -> str:
    text = (recipe.context / recipe.dockerfile).read_text(encoding="utf-8")
    return {**bases.arguments(text), **recipe.arguments}.get("BASE_IMAGE", "of the Dockerfile")
