"""`cascadeport explain A B`: why two rows differ, and where it begins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cascadeport import backends
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.core import store


@dataclass(frozen=True)
class Wanted:
    """What is to be explained, and how the answer is printed.

    Attributes:
        first: The name or folder of the row that the other one is compared with.
        second: The other one's.
        picture: The picture to look at; None: the one that differs most.
        ablate: The number of pictures for the shares of points; None: all.
        dump: What the second row's device dumped, or msprobe's table of it.
        json: Whether to print the record.
    """

    first: str | None
    second: str | None
    picture: int | None = None
    ablate: int | None = None
    dump: Path | None = None
    json: bool = False


def explain(options: Options, reporter: Reporter, wanted: Wanted) -> ExitCode:
    """Explains two rows, writes explain-A-B.{json,html,svg} beside them and prints the answer."""
    from cascadeport.explain import explanation, page, rows, text

    if wanted.first is None or wanted.second is None:
        raise CascadeportError(
            "Two rows have to be named.",
            next="For example `cascadeport explain --a cpu --b 310P3`.",
        )
    known = targets.load(options.targets, backends.row)
    first, second = rows.find(options, known, wanted.first, wanted.second)
    question = explanation.Question(first, second, wanted.picture, wanted.ablate, wanted.dump)
    record = explanation.explain(question, options, reporter)
    # First what took the time: a folder that cannot be written must not cost the answer.
    if wanted.json:
        print(json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        text.write(record)
    folder = second.folder.parent
    with store.locked(folder, wait=True):
        files = page.write(record, folder)
    reporter.line("written", ", ".join(str(file) for file in files))
    return ExitCode.OK
