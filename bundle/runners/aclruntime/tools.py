"""The vendor's command line for aclruntime, as its revisions have it.

    ais_infer.py    in 2022; numbers its outputs until 2022-07-18, then names them after inputs
    ais_bench/      from 2023 on, a package; that of 2025 is strict about paths and who owns them

From Ascend/tools, ais-bench_workload/tool, at 256ed1f (2022-06-30), c368cd3 (2022-07-18), 63a74de
(2022-09-08) and 9d6da90 (2023-06-10), and Yanguan619/aclruntime at 1ff4acca (2025-12-10).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Any, Dict, List, NamedTuple

from bundle.errors import BundleError
from bundle.files import write_errors

# What ais_bench of 2025 takes in a path (common/path_security_check.py).
_PLAIN = re.compile(r"[\w/.-]+", re.ASCII)


class Tool(NamedTuple):
    """A command line of the vendor's.

    Args:
        name: What it is called.
        command: The words that start it.
        folder: Where it has to be started for that; empty: anywhere.
        is_strict: Whether it takes only files of its own user that nobody else can write, and a
            folder for its results that others cannot even read.
    """

    name: str
    command: List[str]
    folder: str
    is_strict: bool


def find_tool(folder: str) -> Tool:
    """The command line in a folder.

    Raises:
        BundleError: There is none.
    """
    if os.path.isfile(os.path.join(folder, "ais_bench", "__main__.py")):
        return Tool("ais_bench", [sys.executable, "-m", "ais_bench"], folder, True)
    script = os.path.join(folder, "ais_infer.py")
    if os.path.isfile(script):
        return Tool("ais_infer", [sys.executable, script], "", False)
    raise BundleError(
        "The vendor's command line is missing: neither ais_infer.py nor ais_bench is there.",
        folder,
        "Put the vendor's tools beside its packages: docs/containers.md.",
    )


def own_copy(tool: Tool, network: str, folder: str) -> str:
    """The network's file as the tool takes it: a strict one gets a copy of its user's own."""
    if not tool.is_strict:
        return network
    copy = os.path.join(folder, "network.om")
    with write_errors(copy):
        shutil.copyfile(network, copy)
        os.chmod(copy, 0o640)
    return copy


def close_to_others(tool: Tool, inputs: str, output: str) -> None:
    """Gives a strict tool's folders the modes that it asks for.

    Raises:
        BundleError: The name of an input has letters that it does not take.
    """
    if not tool.is_strict:
        return
    for name in sorted(os.listdir(inputs)):
        path = os.path.join(inputs, name)
        if _PLAIN.fullmatch(path) is None:
            raise BundleError(
                "{} takes names of letters, digits, '_', '-' and '.' only.".format(tool.name),
                name,
                "Rename the picture, or run without --bins.",
            )
        os.chmod(path, 0o640)
    os.chmod(inputs, 0o750)
    os.chmod(output, 0o750)


def output_files(summary: Dict[str, Any], where: str) -> Dict[str, str]:
    """Every output by the name that it has from 2022-07-18 on, `<stem>_<i>.bin`.

    A tool's summary says which inputs each of its outputs comes from, under whatever name.

    Args:
        summary: The summary's content.
        where: Where it was read, for errors.

    Raises:
        BundleError: It does not say.
    """
    found = {}
    try:
        for entry in summary["filesinfo"].values():
            stem = os.path.basename(entry["infiles"][0]).split(".")[0]
            for index, path in enumerate(entry["outfiles"]):
                found["{}_{}.bin".format(stem, index)] = os.path.basename(path)
    except (KeyError, IndexError, AttributeError, TypeError) as failure:
        raise BundleError(
            "The summary of ais_infer does not say which output is whose: {!r}.".format(failure),
            where,
            "Report this with the revision of the tool and this file.",
        ) from None
    return found
