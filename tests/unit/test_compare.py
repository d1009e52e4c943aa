"""The comparison: what is comparable, what is not, and its three files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cascadeport import datasets
from cascadeport.base.errors import CascadeportError
from cascadeport.report import files as comparison_files
from cascadeport.results import comparison as compare
from cascadeport.results import numbers, tables
from cascadeport.results.comparison import Comparison
from cascadeport.results.published import PublishedFigures

from tests.helpers import finished

ORDER = ("cpu", "310", "310P3", "T4")
Compared = Callable[..., Comparison]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, boxes: datasets.Dataset) -> Path:
    """Results of three targets."""
    folder = tmp_path_factory.mktemp("results")
    finished.finish(folder, boxes)
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", seed=2, milliseconds=5.0)
    finished.finish(
        folder, boxes, target="310", title="Ascend 310", simulated=True, semantics=["=fp16|NMS"]
    )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the three results that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "results"))


@pytest.fixture
def compared(boxes: datasets.Dataset) -> Compared:
    """Compares the results of a folder."""

    def compared(folder: Path, *published: PublishedFigures) -> Comparison:
        found = compare.collect(folder, finished.known(folder, boxes), ORDER)
        return compare.compare(found, published)

    return compared


def test_rows_have_the_targets_order_and_differences(compared: Compared, folder: Path) -> None:
    table = compared(folder)
    assert [(row.target, row.status) for row in table.rows] == [
        ("cpu", "measured"),
        ("310", "simulated"),
        ("T4", "measured"),
    ]
    cpu, ascend, gpu = table.rows
    assert cpu.delta_map is None
    assert cpu.against is None
    assert ascend.delta_map == pytest.approx(0)
    assert ascend.device_ips is ascend.latency_ms is None
    assert gpu.map is not None
    assert cpu.map is not None
    assert gpu.delta_map == pytest.approx(gpu.map - cpu.map)
    assert gpu.against == "CPU, onnxruntime"
    assert table.model["name"] == "rectangles"
    assert table.dataset == {"name": "boxes", "pictures": 14}


def test_a_published_accuracy_of_the_same_data_is_what_others_are_compared_with(
    compared: Compared,
    folder: Path,
) -> None:
    reference = PublishedFigures("reference", "the paper", "somewhere", map=0.45, comparable=True)
    elsewhere = PublishedFigures("T4", "T4, published", "elsewhere", map=0.452, device_ips=3.97)
    *own, first, second = compared(folder, reference, elsewhere).rows
    assert {row.against for row in own} == {"the paper"}
    assert own[0].map is not None
    assert own[0].delta_map == pytest.approx(own[0].map - 0.45)
    assert (first.status, first.map, first.delta_map) == ("published", 0.45, None)
    assert (second.device_ips, second.delta_map, second.reason) == (3.97, None, "elsewhere")


def test_a_published_accuracy_of_other_data_is_compared_with_nothing(
    compared: Compared, folder: Path
) -> None:
    rows = compared(folder, PublishedFigures("reference", "the paper", "somewhere", map=0.45)).rows
    assert {row.against for row in rows} == {None, "CPU, onnxruntime"}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("bundle_digest", "another bundle"),
        ("model_digest", "another model"),
    ],
)
def test_results_of_different_digests_are_not_comparable(
    compared: Compared, folder: Path, key: str, reason: str, boxes: datasets.Dataset
) -> None:
    shutil.rmtree(folder / "T4")
    more = {key: "f" * 64}
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", **more)
    cpu, _, gpu = compared(folder).rows
    assert (cpu.status, gpu.status) == ("measured", "invalid")
    assert gpu.reason.startswith(f"{reason} (ffffffffffff, not ")
    assert "CPU, onnxruntime" in gpu.reason
    assert gpu.delta_map is gpu.against is None


@pytest.mark.parametrize("content", ["", "{", '{"format": 9}', '{"format": 2}', "null"])
def test_a_broken_result_does_not_affect_the_others(
    compared: Compared, folder: Path, content: str
) -> None:
    (folder / "T4" / "result.json").write_text(content)
    rows = compared(folder).rows
    assert [row.status for row in rows] == ["measured", "simulated", "invalid"]
    assert rows[-1].target == "T4"
    assert rows[-1].reason
    assert rows[-1].map is None


def test_the_first_result_may_be_broken_or_invalid(compared: Compared, folder: Path) -> None:
    (folder / "cpu" / "result.json").write_text("{")
    rows = compared(folder).rows
    assert [row.status for row in rows] == ["invalid", "simulated", "measured"]
    assert rows[1].against == "NVIDIA T4"


def test_only_an_invalid_result(
    compared: Compared, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    finished.finish(tmp_path, boxes, problems=["The device was busy."])
    (row,) = compared(tmp_path).rows
    assert (row.status, row.reason) == ("invalid", "The device was busy")
    assert "INVALID" in tables.as_markdown(compared(tmp_path))


def test_nothing_to_compare(compared: Compared, tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="no finished result"):
        compared(tmp_path)


def test_the_files_are_deterministic_and_complete(
    compared: Compared, folder: Path, tmp_path: Path
) -> None:
    table = compared(folder, PublishedFigures("T4", "T4, published", "elsewhere", device_ips=3.97))
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        comparison_files.write(table, tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"comparison.json", "comparison.csv", "comparison.md"}
    values = json.loads(contents[0]["comparison.json"])
    assert values["format"] == 2
    wanted = {"target", "status", "reason", "map", "map50", "map75", "pictures", "device_ips"}
    wanted |= {"end_to_end_ips", "latency_ms", "bundle_digest", "model_digest", "dataset_digest"}
    assert all(wanted <= set(row) for row in values["rows"])
    assert set(values["rows"][0]["latency_ms"]) == {"n", "mean", "p50", "p90", "p99"}
    assert values["rows"][1]["latency_ms"] is None


def test_the_csv_opens_in_a_spreadsheet(compared: Compared, folder: Path) -> None:
    published = PublishedFigures("T4", "=HYPERLINK(0)", "Grüße, 'quoted' \"and\"\nbroken", map=0.4)
    text = tables.as_csv(compared(folder, published))
    assert text.startswith("\ufefftarget,title,status")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row["target"] for row in rows] == ["cpu", "310", "T4", "T4"]
    assert rows[0]["title"] == "CPU, onnxruntime"
    assert float(rows[0]["latency_ms_mean"]) == 20
    assert rows[0]["latency_ms_p99"] == ""
    # Neither a title nor a sentence may be taken for a formula; a negative number stays one.
    assert rows[1]["semantics"] == "'=fp16|NMS"
    assert rows[3]["title"] == "'=HYPERLINK(0)"
    assert rows[3]["reason"] == "Grüße, 'quoted' \"and\"\nbroken"
    float(rows[2]["delta_map"])


def test_the_markdown_is_aligned_and_complete(compared: Compared, folder: Path) -> None:
    text = tables.as_markdown(
        compared(folder, PublishedFigures("x", "你好 | *pipe*", "a <b>\nsource", map=0.4))
    )
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert lines[0] == "# Rectangles & \\<others\\> on boxes, 14 pictures, input 1216x1216"
    assert len(table) == 2 + 4
    assert len({len(line) for line in table[:-1]}) == 1
    # Two of its letters take two columns each.
    assert len(table[-1]) == len(table[0]) - 2
    # 14 pictures are too few for a percentile: the column has nothing in it.
    assert "p99" not in table[0]
    assert table[1].startswith("| ---")
    assert "你好 \\| \\*pipe\\*" in table[-1]
    assert " measured " in table[2]
    assert " simulated " in table[3]
    assert " – |" in table[3]
    assert "- Δ mAP is relative to CPU, onnxruntime." in lines
    assert "- =fp16\\|NMS" in lines[lines.index("**Ascend 310**") :]
    said = lines[lines.index("**你好 \\| \\*pipe\\***") :]
    assert "- Not measured here; from a \\<b\\> source" in said


@pytest.mark.parametrize(
    ("delta", "text"),
    [(None, "–"), (0.0, "0.00"), (-0.00001, "0.00"), (0.0123, "+1.23"), (-0.1, "−10.00")],
)
def test_points(delta: float | None, text: str) -> None:
    assert numbers.points(delta) == text


def test_one_chip_of_many_is_a_column_where_there_are_many(
    compared: Compared, folder: Path
) -> None:
    assert "chip img/s" not in tables.as_markdown(compared(folder))
    card = PublishedFigures(
        "310", "310, published", "elsewhere", chip_ips=0.673411, device_ips=2.693644
    )
    text = tables.as_markdown(compared(folder, card))
    header, *_, published = [line for line in text.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in header.split("|")]
    assert "latency mean ms" in columns
    cells = [cell.strip() for cell in published.split("|")]
    assert cells[columns.index("chip img/s")] == "0.67"
    assert cells[columns.index("device img/s")] == "2.69"


def test_results_with_different_inputs_are_distinguishable(
    compared: Compared, tmp_path: Path, boxes: datasets.Dataset
) -> None:
    """One checkpoint in two shapes: every row says its own, and they are not compared."""
    wide = "800x1344, 1344x800, pictures to 1333x800"
    finished.finish(tmp_path, boxes)
    alike = compared(tmp_path)
    assert [row.input for row in alike.rows] == ["1216x1216"]
    assert "input 1216x1216" in tables.as_markdown(alike).splitlines()[0]
    finished.finish(
        tmp_path,
        boxes,
        target="T4",
        title="NVIDIA T4",
        shapes=[(800, 1344), (1344, 800)],
        resize=(1333, 800),
    )
    table = compared(tmp_path)
    assert table.inputs == ["1216x1216", wide]
    assert [row.status for row in table.rows] == ["measured", "invalid"]
    assert "other input shapes, resize than CPU, onnxruntime" in table.rows[1].reason
    text = tables.as_markdown(table)
    assert "input" not in text.splitlines()[0]
    assert "**CPU, onnxruntime**\n\n- Input 1216x1216; other rows have another input." in text
    assert f"- Input {wide}; other rows have another input." in text
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(table).lstrip("\ufeff"))))
    assert [row["input"] for row in rows] == ["1216x1216", wide]


def test_what_is_inside_the_device_times_and_where_rows_come_from_is_said(
    compared: Compared, folder: Path
) -> None:
    table = compared(folder)
    rows = [
        row.model_copy(update={"device_time": inside, "machine": machine})
        for row, inside, machine in zip(
            table.rows,
            ("execution", None, "execution and copies"),
            ("x86_64", "aarch64", "x86_64"),
            strict=True,
        )
    ]
    text = tables.as_markdown(table.model_copy(update={"rows": rows}))
    assert "device time of" in text
    assert "execution and copies" in text
    assert "some include copies" in text
    assert "hosts of different architectures" in text
    assert f"aarch64: {rows[1].title}" in text.replace("\\", "")
    same = [row.model_copy(update={"machine": "x86_64", "device_time": None}) for row in rows]
    text = tables.as_markdown(table.model_copy(update={"rows": same}))
    assert "architectures" not in text
    assert "device time of" not in text
