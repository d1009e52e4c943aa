"""The report as a file: self-contained, with hostile names, with missing inputs."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from cascadeport import datasets, report
from cascadeport.evaluation import Marked
from cascadeport.report import Beside, charts, pictures, view
from cascadeport.results import comparison as compare
from cascadeport.results import drift, gate
from cascadeport.results import result as results
from cascadeport.results.published import PublishedFigures

from tests.helpers import finished


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, boxes: datasets.Dataset) -> Path:
    """Results of four targets, one of them invalid."""
    folder = tmp_path_factory.mktemp("results")
    skipped = [{"id": 2, "file": "<b>.jpg", "reason": "The picture is <i>empty</i>."}]
    finished.finish(folder, boxes)
    finished.finish(folder, boxes, target="310", title="Ascend 310", simulated=True, seed=3)
    finished.finish(folder, boxes, target="310P3", title="Ascend 310P3", seed=2, semantics=["RPN"])
    finished.finish(folder, boxes, target="T4", title="T4", status="partial", skipped=skipped)
    return folder


def collected(folder: Path, dataset: datasets.Dataset) -> list[compare.Found]:
    return compare.collect(folder, finished.known(folder, dataset), ("cpu", "310", "310P3", "T4"))


def page(
    folder: Path,
    out: Path,
    dataset: datasets.Dataset | None,
    *published: PublishedFigures,
    found: Sequence[compare.Found] = (),
) -> str:
    """Renders the results of a folder and returns the page."""
    if not found:
        assert dataset is not None
        found = collected(folder, dataset)
    table = compare.compare(found, published)
    report.render([one.result for one in found if one.result], table, out, dataset)
    return out.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """All start tags with their attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_self_contained(made: Path, boxes: datasets.Dataset, tmp_path: Path) -> None:
    text = page(made, tmp_path / "comparison.html", boxes)
    assert len(text.encode()) < 3_000_000
    elements = Elements(text)
    for tag, attributes in elements.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    images = [attributes for tag, attributes in elements.tags if tag == "image"]
    assert 6 <= len(images) <= 12
    for image in images:
        address = image["href"]
        assert address is not None
        content = base64.b64decode(address.partition(",")[2])
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert headings == [
        "Verdict",
        "Comparison",
        "Pictures",
        "Precision and recall",
        "Accuracy by size and category",
        "Time",
        "Conditions",
        "Skipped pictures",
        "How it was measured",
        "Environment",
    ]


def test_names_are_data(made: Path, boxes: datasets.Dataset, tmp_path: Path) -> None:
    hostile = PublishedFigures("x", "</style><script>alert(1)</script>", "'\"><img>", map=0.1)
    text = page(made, tmp_path / "comparison.html", boxes, hostile)
    elements = Elements(text)
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("script") == 1
    assert "img" not in tags
    shown = "".join(elements.text)
    for name in (*finished.CLASSES[:3], "</style><script>alert(1)</script>", "a <b>processor</b>"):
        assert name in shown
    assert "The picture is <i>empty</i>." in shown
    # The category of the awkward name has no object: it is named among the absent ones.
    assert finished.CLASSES[3] in shown
    assert "<img src=x onerror=alert(1)>.jpg" in {
        attributes.get("aria-label", "").removeprefix("Enlarge ")  # type: ignore[union-attr]
        for _, attributes in elements.tags
    }


def test_equal_results_give_equal_bytes(
    made: Path, boxes: datasets.Dataset, tmp_path: Path
) -> None:
    first = page(made, tmp_path / "one.html", boxes)
    assert page(made, tmp_path / "two.html", boxes) == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_invalid_result_is_in_the_table_and_not_in_the_charts(
    made: Path, boxes: datasets.Dataset, tmp_path: Path
) -> None:
    text = page(made, tmp_path / "comparison.html", boxes)
    assert "<strong>T4 is INVALID:</strong> 1 of 14 pictures were skipped" in text
    assert "T4 is left out of pictures and charts" in text
    labels = re.findall(r'<label for="target-\d">(.*?)</label>', text)
    assert labels == ["CPU, onnxruntime", "Ascend 310", "Ascend 310P3"]


def test_a_simulated_result_has_no_times(boxes: datasets.Dataset, tmp_path: Path) -> None:
    finished.finish(tmp_path, boxes, target="310", title="Ascend 310", simulated=True)
    text = page(tmp_path, tmp_path / "comparison.html", boxes)
    assert "no throughput: simulator times are meaningless" in text
    assert "simulator times say nothing about the device" in text
    assert "Device time" not in text
    assert "50.00" not in text


def test_only_an_invalid_result_is_shown_with_its_reason(
    boxes: datasets.Dataset, tmp_path: Path
) -> None:
    finished.finish(tmp_path, boxes, problems=["The device was busy."])
    text = page(tmp_path, tmp_path / "comparison.html", boxes)
    assert "INVALID:</strong> The device was busy" in text
    assert "Precision and recall" in text
    assert 'class="cards"' not in text


def test_no_result_can_be_read(tmp_path: Path, boxes: datasets.Dataset) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "result.json").write_text("{")
    text = page(tmp_path, tmp_path / "comparison.html", boxes)
    assert "cpu is INVALID" in text
    assert "Pictures" not in re.findall(r"<h2[^>]*>(.*?)</h2>", text)


@pytest.mark.parametrize("lost", ["data set", "detections", "times", "pictures", "other data set"])
def test_missing_inputs_are_left_out_and_reported(
    made: Path, boxes: datasets.Dataset, tmp_path: Path, lost: str
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "results"))
    dataset: datasets.Dataset | None = boxes
    # What is lost after the rows were computed, or is not needed for them.
    found = collected(folder, boxes)
    reason = ""
    if lost == "data set":
        dataset, reason = None, "The data set is not available."
    elif lost == "detections":
        (folder / "310" / "infer" / "detections.json").unlink()
        reason = "The detections of Ascend 310 are not available."
    elif lost == "times":
        (folder / "cpu" / "infer" / "times.csv").unlink()
    elif lost == "pictures":
        home = Path(shutil.copytree(boxes.root, tmp_path / "data"))
        dataset = datasets.load(home)
        for path in (home / "val2017").iterdir():
            path.write_bytes(b"not a picture")
        reason = "No picture can be read."
    else:
        dataset = finished.dataset(tmp_path / "other", pictures=6)
        reason = "Detections do not belong"
    text = page(folder, tmp_path / "comparison.html", dataset, found=found)
    assert reason in text
    assert ("<image" in text) == (lost == "times")
    assert ("Device time, CPU" in text) == (lost != "times")


def test_no_category_has_an_object(tmp_path: Path, boxes: datasets.Dataset) -> None:
    home = Path(shutil.copytree(boxes.root, tmp_path / "data"))
    path = home / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "annotations": []}))
    empty = datasets.load(home)
    finished.finish(tmp_path / "results", empty)
    text = page(tmp_path / "results", tmp_path / "comparison.html", empty)
    assert "No category has an object." in text
    assert "nothing to find" in text


def test_a_curve_leaves_out_points_inside_horizontal_lines() -> None:
    recall = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert charts.curve(recall, [1, 1, 1, 1, 1]) == "M0 0L100 0"
    assert charts.curve(recall, [1, 1, 0.5, 0.5, 0]) == "M0 0L25 0L50 50L75 50L100 100"


def test_the_histogram_is_of_the_scored_pass(made: Path) -> None:
    (histogram,) = view.histograms([results.load(made / "cpu" / "result.json")])
    assert histogram is not None
    # The repeats of these results took half a second longer.
    assert histogram.ticks[-1].text == "25"


def test_histogram_counts_every_value_between_round_marks() -> None:
    made = charts.histogram([1.0, 1.1, 1.2, 7.9], bins=10)
    assert made is not None
    assert made.most == 3
    assert [tick.text for tick in made.ticks] == ["0", "2", "4", "6", "8"]
    assert made.bars.count("z") == 2
    assert made.mean == "35"
    assert charts.histogram([]) is None
    same = charts.histogram([0.02] * 5)
    assert same is not None
    assert same.ticks[-1].text == "0.02"
    zero = charts.histogram([0.0])
    assert zero is not None
    assert zero.most == 1


def test_the_best_the_worst_and_the_differing_are_chosen() -> None:
    def marked(right: int, wrong: int, missed: int) -> list[Marked]:
        verdicts = ["right"] * right + ["found"] * right + ["wrong"] * wrong + ["missed"] * missed
        return [Marked(verdict, (0, 0, 1, 1), 1, "a") for verdict in verdicts]  # type: ignore[arg-type]

    first = {number: marked(2, 0, 0) for number in range(100)}
    first |= {7: marked(9, 0, 0), 8: marked(0, 1, 5), 9: marked(0, 8, 0), 10: marked(3, 0, 6)}
    first |= {11: []}
    second = {**first, 50: marked(0, 0, 2)}
    chosen = {choice.image_id: choice.why for choice in pictures.choose([first, second], most=8)}
    assert chosen[7] == "among the best"
    assert chosen[8] == "among the worst"
    assert chosen[9] == "most false alarms"
    assert chosen[10] == "most missed"
    assert chosen[50] == "targets differ"
    assert chosen[11] == "nothing to find"
    assert len(chosen) == 8
    assert pictures.choose([]) == []
    assert len(pictures.choose([{1: [], 2: marked(1, 0, 0)}])) == 2


def test_an_embedded_picture_is_small_and_of_the_right_shape(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (900, 1600, 3), dtype=np.uint8)
    path = tmp_path / "noise.png"
    path.write_bytes(cv2.imencode(".png", noise)[1].tobytes())
    address = pictures.embed(path, 1600, 900)
    assert address is not None
    assert len(address) < 130_000
    small = cv2.imdecode(
        np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR
    )
    assert small is not None
    assert small.shape[1] / small.shape[0] == pytest.approx(16 / 9, rel=0.01)
    assert pictures.embed(path, 900, 1600) is None
    assert pictures.embed(tmp_path / "none.png", 1, 1) is None
    (tmp_path / "empty.png").write_bytes(b"")
    assert pictures.embed(tmp_path / "empty.png", 1, 1) is None


def test_the_verdict_is_first_and_drift_is_shown_side_by_side(
    boxes: datasets.Dataset, tmp_path: Path
) -> None:
    finished.finish(tmp_path, boxes)
    finished.finish(tmp_path, boxes, target="310P3", title="Ascend 310P3", seed=2)
    known = finished.known(tmp_path, boxes)
    found = compare.collect(tmp_path, known, ("cpu", "310P3"))
    table = gate.judge(compare.compare(found, []), found, [], known)
    results = [one.result for one in found if one.result]
    rows = compare.comparable(table.rows, {one.target: one for one in results})
    drifts = drift.update(tmp_path, rows, boxes)
    out = tmp_path / "comparison.html"
    report.render(results, table, out, boxes, Beside(drifts, {"cpu": "signed by SHA256:abc"}))
    text = out.read_text(encoding="utf-8")
    assert text.index('id="verdict"') < text.index('id="table"') < text.index('id="drift"')
    assert "signed by SHA256:abc" in text
    assert "unsigned" in text
    (one,) = drifts.drifts
    drawn = [picture for picture in one.worst if picture.drawing]
    assert drawn
    assert all((tmp_path / picture.drawing).is_file() for picture in drawn)
    images = [attributes for tag, attributes in Elements(text).tags if tag == "img"]
    assert len(images) == min(6, len(drawn))
    assert all(str(image["alt"]).endswith("Ascend 310P3 on the right") for image in images)


def test_drift_against_rows_that_are_gone_is_removed(
    boxes: datasets.Dataset, tmp_path: Path
) -> None:
    finished.finish(tmp_path, boxes)
    finished.finish(tmp_path, boxes, target="310P3", title="Ascend 310P3", seed=2)
    known = finished.known(tmp_path, boxes)
    results = [one.result for one in compare.collect(tmp_path, known, ("cpu",)) if one.result]
    assert drift.update(tmp_path, results, boxes).drifts
    assert (tmp_path / "drift" / "310P3").is_dir()
    assert drift.update(tmp_path, results[:1], boxes).drifts == []
    assert not (tmp_path / "drift").exists()


def test_columns_that_no_row_has_are_left_out(boxes: datasets.Dataset, tmp_path: Path) -> None:
    """14 pictures have no p90 and no p99, and no row has a published speed."""
    finished.finish(tmp_path, boxes)
    text = page(tmp_path, tmp_path / "comparison.html", boxes)
    table = text[text.index('id="table"') : text.index("</table>")]
    headers = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table)
    assert "p50" in headers
    assert not {"p90", "p99", "of published"} & set(headers)
