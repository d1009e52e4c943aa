"""Reads what the vendor's own tool says: the result_*.csv of msprobe's (msit's) comparison.

It compares an NPU's dump with the ONNX graph run on a CPU, operator by operator. Its columns are
those of "Parameters in a Complete Model Comparison Result" (hiascend.com,
canncommercial/800/devaids/modelaccuracy, atlasaccuracy_16_0064): OpType, NPUDump, GroundTruth,
TensorIndex (`NAME:output:0`), Shape, CosineSimilarity, RelativeEuclideanDistance, ...,
CompareFailReason. Its analyser warns below a cosine of 0.99 and above a distance of 0.05 (msit's
documentation of the analyser).
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import RECORD_LIMIT, read_bytes
from cascadeport.explain.anchors import Anatomy
from cascadeport.explain.dumps import Names
from cascadeport.explain.record import Vendor, VendorTensor

_COSINE, _DISTANCE = 0.99, 0.05
_NEEDED = ("NPUDump", "GroundTruth", "TensorIndex", "CosineSimilarity", "RelativeEuclideanDistance")


def load(path: Path, lowered: Path, anatomy: Anatomy | None) -> Vendor:
    """Reads the table of outputs, in its order.

    Raises:
        CascadeportError: It cannot be read, or is another table.
    """
    content = read_bytes(path, "comparison of msprobe", limit=RECORD_LIMIT)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
        head, rows = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CascadeportError(
            f"The comparison of msprobe cannot be read: {error}.", where=str(path)
        ) from None
    missing = [name for name in _NEEDED if name not in head]
    if missing:
        raise CascadeportError(
            f"This is no comparison of msprobe: it has no column {missing[0]}.",
            where=str(path),
            next="Give the result_*.csv that msprobe or msit wrote.",
        )
    names = Names(lowered)
    found = []
    for row in rows:
        place = row["TensorIndex"].rsplit(":", 2)
        if len(place) != 3 or place[1] != "output" or not place[2].isdecimal():
            continue
        value = names.value(row["NPUDump"], int(place[2]))
        if value is None:
            # Of fused operators the ground truth is a list of the graph's own.
            value = names.value(row["GroundTruth"].split(",")[-1], 0)
        cosine, distance = (
            _number(row["CosineSimilarity"]),
            _number(row["RelativeEuclideanDistance"]),
        )
        found.append(
            VendorTensor(
                operator=row["NPUDump"],
                value=value or "",
                stage=anatomy.stage(value) if anatomy and value else "",
                cosine=cosine,
                distance=distance,
                suspect=(cosine is not None and cosine < _COSINE)
                or (distance is not None and distance > _DISTANCE),
                reason=(row.get("CompareFailReason") or "").strip(),
            )
        )
    return Vendor(
        file=path.name,
        compared=sum(one.cosine is not None for one in found),
        failed=sum(one.cosine is None for one in found),
        first=next((one for one in found if one.suspect), None),
        suspects=[one for one in found if one.suspect],
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
