"""The environment variables that are read, and by whom. Nothing else in the environment counts.

A plain name such as MODEL or DATA in somebody's shell must never decide what a container sees, so
commands get the declared variables only (`read`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError


@dataclass(frozen=True)
class Variable:
    """An environment variable.

    Args:
        name: Its name.
        meaning: What it says, in Markdown.
        reader: Who reads it.
        by_hand: Whether it is read only where somebody calls a tool without the command line: it
            never reaches a command.
    """

    name: str
    meaning: str
    reader: str
    by_hand: bool = False


_COMPOSE = "compose files"
_ASCEND = "Ascend compose files"
_BUILDS = "image builds"
_PIP = "pip, here and in image builds"
_PIP_HERE = "pip on this machine"
_MAKE = "make"
_DOCKER_COMPOSE = "`docker compose` by hand"

VARIABLES = (
    # Containers.
    Variable(
        "CASCADEPORT_USER",
        "`UID:GID` that containers run as; yours unless given, 1000:1000 where you are root. "
        "Never root",
        _COMPOSE,
    ),
    Variable("MEMORY", "a container's memory limit, e.g. `16g`", _COMPOSE),
    Variable("CONVERT_MEMORY", "the same for atc, which needs more than 4 GB", _ASCEND),
    Variable("GPU", "the GPU's number; `0` unless given", "compose/t4.yaml"),
    Variable(
        "ASCEND_GID", "the group of the device nodes; that of `/dev/davinci0` unless given", _ASCEND
    ),
    Variable("ASCEND_DRIVER", "the driver; `/usr/local/Ascend/driver`", f"{_ASCEND}, doctor"),
    Variable("ASCEND_GLOBAL_LOG_LEVEL", "CANN's log level; `3`: errors", _ASCEND),
    *(
        Variable(
            f"DAVINCI{chip}",
            f"the device that a container sees as `/dev/davinci{chip}`, for stand-ins: nothing "
            "says that a driver takes a node under another name",
            _ASCEND,
        )
        for chip in range(4)
    ),
    Variable("DAVINCI_MANAGER", "device node; `/dev/davinci_manager`", _ASCEND),
    Variable("DEVMM_SVM", "device node; `/dev/devmm_svm`", _ASCEND),
    Variable("HISI_HDC", "device node; `/dev/hisi_hdc`", _ASCEND),
    Variable("NPU_SMI", "the program that lists the chips; `npu-smi`", "doctor"),
    Variable(
        "CASCADEPORT_LOCKS",
        "the folder of locks by which passes on one device take turns, `/tmp/cascadeport-devices`; "
        "a result with another one says so",
        "commands",
    ),
    # Building images.
    Variable("BASE_IMAGE", "the image that a target's own starts from", _BUILDS),
    Variable("EXPORT_BASE_IMAGE", "the same for the export's image: a Python 3.7", _BUILDS),
    Variable("EXPORT_BUILD_IMAGE", "the image with a compiler that builds its wheels", _BUILDS),
    Variable("CANN", "the folder of the vendor's packages; `images/ascend/cann`", _BUILDS),
    Variable("WHEELS", "a wheelhouse, e.g. `build/wheels`, for builds without a network", _BUILDS),
    Variable("PIP_INDEX_URL", "the package index", _PIP),
    Variable("PIP_NO_INDEX", "`1`: no index", _PIP_HERE),
    Variable("PIP_FIND_LINKS", "folders of packages", _PIP_HERE),
    Variable("PIP_CERT", "the index's certificates", _PIP_HERE),
    Variable("BUILD_PIP_CERT", "the index's certificates, a path in the base image", _BUILDS),
    Variable("BUILD_NETWORK", "the build's network, e.g. `host`", _BUILDS),
    # Hosts.
    Variable("DOCKER_HOST", "the Docker Engine of targets without a row in hosts.toml", "commands"),
    Variable("DOCKER_TLS_VERIFY", "`1`: TLS for it", "commands"),
    Variable("DOCKER_CERT_PATH", "the folder of its certificates", "commands"),
    Variable(
        "CASCADEPORT_INSECURE_TCP", "`1`: a `tcp://` DOCKER_HOST may go without TLS", "commands"
    ),
    # The export.
    Variable("CASCADEPORT_EXPORT_ENV", "the export's environment; `.venv-export`", "export, tests"),
    Variable(
        "CASCADEPORT_SANDBOX",
        "what contains it on this machine: `bubblewrap`, `kernel` or `none`; the first that works",
        "export",
    ),
    Variable("PYTHON37", "the Python 3.7 that it is created with", "`make export-env`"),
    Variable("MAX_JOBS", "how many compilers run at once", "`make export-env`"),
    # The Makefile's own.
    Variable("PYTHON", "the Python that `.venv` is created with; `python3`", _MAKE),
    Variable("VENV", "the virtual environment; `.venv`. No spaces", _MAKE),
    Variable("TESTS", "words for pytest, e.g. `-k report`", "`make test`"),
    Variable("ONLY", "benchmarks to run, by name; all unless given", "`make bench`"),
    Variable(
        "VERIFICATION_RECORDS",
        "where the verification's benchmark keeps each seed; `benchmarks/records/verification`",
        "`ONLY=verification make bench`",
    ),
    Variable("EXPLAIN_PLANTS", "how many errors it plants; 30", "`ONLY=explain make bench`"),
    Variable("EXPLAIN_PAIRS", "how many correct pairs it tries; 10", "`ONLY=explain make bench`"),
    Variable("TUNE_FOLDER", "keeps its rows, so that it goes on there", "`ONLY=tune make bench`"),
    Variable("EXPLAIN_TIME", "`0`: without the command's time", "`ONLY=explain make bench`"),
    *(
        Variable(name, f"how many seeds of {network} it tries; {seeds}", "`make bench`")
        for name, network, seeds in (
            ("DEMO_SEEDS", "the demo's architecture", 50),
            ("R101_SEEDS", "the R101", 6),
        )
    ),
    Variable("R101_SIZE", "the edge of the R101's input; 608", "`ONLY=verification make bench`"),
    Variable("SERVE_TINY", "how many tiny pictures; 10,000", "`ONLY=serve make bench`"),
    Variable("FUZZ_SECONDS", "how long it goes on; 600", "`make fuzz`"),
    Variable("FUZZ_SEED", "what its cases are drawn from; the time", "`make fuzz`"),
    Variable("CASCADEPORT_NO_SKIPS", "`1`: a skipped test is a failure", "`make test`"),
    Variable(
        "CASCADEPORT_PASSED",
        "a file of tests that passed, which are not run again; those that pass are added",
        "`make test`",
    ),
    # Without the command line.
    Variable("MODEL", "the network that a service runs", _DOCKER_COMPOSE, by_hand=True),
    Variable("DATA", "the folder of pictures", _DOCKER_COMPOSE, by_hand=True),
    Variable("OUT", "the folder of the job", _DOCKER_COMPOSE, by_hand=True),
)
"""Every variable, in the order of the documentation."""

# Where programs are found.
_SYSTEM = ("PATH",)
_COMMANDS = frozenset((*_SYSTEM, *(each.name for each in VARIABLES if not each.by_hand)))
_USER = re.compile(r"(\d+):\d+")


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """The declared variables that are set; an empty one counts as not set.

    Raises:
        CascadeportError: A value cannot be used.
    """
    found = {key: value for key, value in environ.items() if key in _COMMANDS and value}
    user = found.get("CASCADEPORT_USER")
    if user is not None:
        _check_user(user)
    return found


def _check_user(text: str) -> None:
    match = _USER.fullmatch(text)
    if match is None:
        raise CascadeportError(
            "CASCADEPORT_USER must be a user's and a group's number.",
            where=f"CASCADEPORT_USER={text}",
            next="For example CASCADEPORT_USER=1000:1000 (id -u, id -g).",
        )
    if int(match[1]) == 0:
        raise CascadeportError(
            "Containers never run as root.",
            where=f"CASCADEPORT_USER={text}",
            next="Give an ordinary user, e.g. CASCADEPORT_USER=1000:1000.",
        )
