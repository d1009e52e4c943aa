"""Subject: what finished stages and rows left on disk, edited."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.results import comparison as compare

from tests.fuzz import mutate
from tests.fuzz.subject import Subject, require
from tests.helpers import finished

# Of the files that a row is computed from, JSON ones; of the others, bytes are changed.
_JSON = ("result.json", "infer/run.json", "infer/job.json", "infer/stage.json",
         "evaluate/evaluation.json", "evaluate/stage.json", "infer/detections.json")  # fmt: skip
_OTHERS = ("infer/times.csv", "infer/pictures.jsonl")


class Records(Subject):
    """Nonsense: a row that still counts as measured, and shows what was not measured."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = finished.dataset(folder / "boxes")
        self.honest = folder / "results"
        finished.finish(self.honest, self.data)
        self.row = self._row(self.honest)
        require(self.row["status"] == "measured", "the honest row is not measured")

    def _row(self, folder: Path) -> dict[str, Any]:
        found = compare.collect(folder, finished.known(folder, self.data), ("cpu",))
        (row,) = compare.compare(found).rows
        return row.model_dump()

    def make(self, draw: random.Random) -> None:
        shutil.copytree(self.honest, self.case, dirs_exist_ok=True)
        for file in draw.sample((*_JSON, *_OTHERS), draw.choice((1, 1, 2))):
            path = self.case / "cpu" / file
            if path.suffix != ".json" or draw.random() < 0.1:
                path.write_bytes(mutate.content(path.read_bytes(), draw))
                continue
            changed = mutate.value(json.loads(path.read_text(encoding="utf-8")), draw)
            path.write_text(json.dumps(changed), encoding="utf-8")

    def run(self) -> None:
        row = self._row(self.case)
        if row["status"] == "measured":
            other = {key for key in row if row[key] != self.row[key]}
            require(not other, f"{other} is not what was measured: {[row[key] for key in other]}")
        else:
            require(row["status"] == "invalid", f"the row is {row['status']}")
            raise CascadeportError(row["reason"])
