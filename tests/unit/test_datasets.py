"""Data sets in COCO layout: what is loaded, and how its errors are reported."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets
from cascadeport.base.errors import CascadeportError

Document = dict[str, Any]


def document() -> Document:
    """Three pictures, out of order, and two annotations; nothing is wrong with it."""
    return {
        "images": [
            {"id": 9, "file_name": "c.jpg", "width": 30, "height": 10},
            {"id": 2, "file_name": "a.jpg", "width": 10, "height": 20},
            {"id": 5, "file_name": "sub/b ä.png", "width": 20, "height": 20},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 2,
                "category_id": 3,
                "bbox": [1, 2, 3.5, 4],
                "area": 9,
                "iscrowd": 0,
            },
            {
                "id": 4,
                "image_id": 9,
                "category_id": 1,
                "bbox": [0, 0, 30, 10],
                "area": 3,
                "iscrowd": 1,
            },
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "person"}],
    }


def build(root: Path, content: Document | bytes) -> Path:
    """Writes a data set; the pictures' content is never looked at here."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / "instances_val2017.json").write_bytes(raw)
    for name in ("a.jpg", "sub/b ä.png", "c.jpg"):
        path = root / "val2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def errors(root: Path, content: Document | bytes, **options: Any) -> list[str]:
    with pytest.raises(CascadeportError) as caught:
        datasets.load(build(root, content), **options)
    return caught.value.details


def changed(change: Callable[[Document], object]) -> Document:
    content = document()
    change(content)
    return content


def test_what_is_loaded(tmp_path: Path) -> None:
    found = datasets.load(build(tmp_path / "mine", document()))
    assert found.name == "mine"
    assert found.pictures_dir == tmp_path / "mine" / "val2017"
    assert found.annotations_path == tmp_path / "mine" / "annotations" / "instances_val2017.json"
    assert found.categories == (datasets.Category(1, "person"), datasets.Category(3, "dog"))
    assert found.items == (
        datasets.Item(2, "a.jpg", 10, 20),
        datasets.Item(5, "sub/b ä.png", 20, 20),
        datasets.Item(9, "c.jpg", 30, 10),
    )
    assert found.warnings == ()
    assert found.plain


def test_other_names(tmp_path: Path) -> None:
    build(tmp_path, document())
    (tmp_path / "val2017").rename(tmp_path / "images")
    (tmp_path / "annotations" / "instances_val2017.json").rename(tmp_path / "labels.json")
    found = datasets.load(tmp_path, pictures="images", annotations="labels.json", name="x")
    assert (found.name, len(found.items)) == ("x", 3)


# The digest.


def test_the_digest_does_not_depend_on_the_path(tmp_path: Path) -> None:
    one = datasets.load(build(tmp_path / "one", document()))
    two = datasets.load(build(tmp_path / "two", document()))
    assert one.digest == two.digest


def test_the_digest_depends_on_content_names_and_limit(tmp_path: Path) -> None:
    digests = [datasets.load(build(tmp_path, document())).digest]
    digests += [datasets.load(tmp_path, limit=limit).digest for limit in (1, 2)]
    (tmp_path / "val2017" / "a.jpg").write_bytes(b"A.jpg")
    digests.append(datasets.load(tmp_path).digest)
    digests.append(datasets.load(build(tmp_path, json.dumps(document()).encode() + b"\n")).digest)
    renamed = changed(lambda it: it["images"][0].update(file_name="a.jpg"))
    digests.append(datasets.load(build(tmp_path, renamed)).digest)
    assert len(set(digests)) == len(digests)


def test_a_big_set_is_known_by_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = build(tmp_path, document())
    total = sum(path.stat().st_size for path in (root / "val2017").rglob("*.*"))
    digests = []
    for below in (total, total - 1):
        monkeypatch.setattr("cascadeport.datasets.dataset.HASHED_BELOW", below)
        for content in (b"a.jpg", b"b.jpg", b"a.jpeg"):
            (root / "val2017" / "a.jpg").write_bytes(content)
            digests.append(datasets.load(root).digest)
        total += 1
    by_content, by_size = digests[:3], digests[3:]
    assert len(set(by_content)) == 3
    assert by_size[0] == by_size[1] != by_size[2]


def test_a_limit_takes_the_first_by_id_and_needs_no_others(tmp_path: Path) -> None:
    root = build(tmp_path, document())
    (root / "val2017" / "c.jpg").unlink()
    found = datasets.load(root, limit=2)
    assert [item.id for item in found.items] == [2, 5]
    assert found.warnings == ()


def test_a_limit_above_the_number_of_pictures(tmp_path: Path) -> None:
    found = datasets.load(build(tmp_path, document()), limit=4)
    assert found.warnings == ("The limit is 4, and there are 3 pictures",)
    assert found.digest == datasets.load(tmp_path).digest


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one(tmp_path: Path, limit: int) -> None:
    with pytest.raises(CascadeportError, match=f"limit is {limit}"):
        datasets.load(build(tmp_path, document()), limit=limit)


# Annotation files that cannot be read.


@pytest.mark.parametrize(
    ("content", "what", "where"),
    [
        (b'{"images": [\n  1,]', "is not valid JSON", "line 2, column 5"),
        (json.dumps(document()).encode()[:-40], "is not valid JSON", "line 1, column"),
        (b"", "is empty", "line 1"),
        (b'{\n"a": "\xff"}', "is not UTF-8", "line 2, byte 8"),
        (b"[" * 100_000, "cannot be read", ""),
        (b"1" * 5000, "cannot be read", ""),
        (b"[{}]", "is a list", ""),
        (b"3", "not a JSON object", ""),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, what: str, where: str) -> None:
    with pytest.raises(CascadeportError, match=what) as caught:
        datasets.load(build(tmp_path, content))
    assert where in caught.value.where
    assert "instances_val2017.json" in caught.value.where


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_missing_keys(tmp_path: Path, key: str) -> None:
    assert errors(tmp_path, changed(lambda it: it.pop(key))) == [f"{key}: missing"]
    assert errors(tmp_path, changed(lambda it: it.update({key: {}}))) == [
        f"{key}: must be a list, it is an object"
    ]


@pytest.mark.parametrize("key", ["images", "categories"])
def test_empty_lists(tmp_path: Path, key: str) -> None:
    empty = changed(lambda it: it.update({key: [], "annotations": []}))
    assert errors(tmp_path, empty) == [f"{key}: the list is empty"]


def test_no_annotation_at_all_is_a_warning(tmp_path: Path) -> None:
    found = datasets.load(build(tmp_path, changed(lambda it: it["annotations"].clear())))
    assert "not a single annotation" in found.warnings[0]


# Faults of single records, each with its location.

BOX = "annotations[1] (id 4): "
PICTURE = "images[1] (id 2): "
ERRORS: list[tuple[str, Callable[[Document], object], str]] = [
    ("image", lambda it: it["images"].append(3), "images[3]: must be an object, it is a number"),
    ("image id", lambda it: it["images"].append({"width": 1}), "images[3]: has no id"),
    (
        "image id twice",
        lambda it: it["images"].append(it["images"][0]),
        "images[3]: id 9 is used before",
    ),
    (
        "image id of text",
        lambda it: it["images"].append({"id": "9"}),
        "images[3]: id must be a 64-bit integer, it is '9'",
    ),
    (
        "image id of a truth value",
        lambda it: it["images"].append({"id": True}),
        "images[3]: id must be a 64-bit integer, it is True",
    ),
    (
        "image id too big",
        lambda it: it["images"].append({"id": 2**63}),
        f"images[3]: id must be a 64-bit integer, it is {2**63}",
    ),
    ("width", lambda it: it["images"][1].pop("width"), PICTURE + "width is missing"),
    (
        "height 0",
        lambda it: it["images"][1].update(height=0),
        PICTURE + "height must be 1 to 2147483647, it is 0",
    ),
    (
        "height -1",
        lambda it: it["images"][1].update(height=-1),
        PICTURE + "height must be 1 to 2147483647, it is -1",
    ),
    (
        "width of a fraction",
        lambda it: it["images"][1].update(width=10.5),
        PICTURE + "width must be 1 to 2147483647, it is 10.5",
    ),
    ("file", lambda it: it["images"][1].pop("file_name"), PICTURE + "file_name is missing"),
    (
        "file out of the folder",
        lambda it: it["images"][1].update(file_name="x/../../a.jpg"),
        PICTURE + "file_name 'x/../../a.jpg' leads out of the pictures' folder",
    ),
    (
        "file out of the folder, as Windows writes it",
        lambda it: it["images"][1].update(file_name="..\\a.jpg"),
        PICTURE + "file_name '..\\\\a.jpg' leads out of the pictures' folder",
    ),
    (
        "absolute file",
        lambda it: it["images"][1].update(file_name="/etc/passwd"),
        PICTURE + "file_name '/etc/passwd' is an absolute path; "
        "it must be below the pictures' folder",
    ),
    (
        "zero byte in a file's name",
        lambda it: it["images"][1].update(file_name="a\0.jpg"),
        PICTURE + "file_name 'a\\x00.jpg' has a control character in it",
    ),
    (
        "half a character in a file's name",
        lambda it: it["images"][1].update(file_name="\ud83d.jpg"),
        PICTURE + "file_name '\\ud83d.jpg' has half a character in it (a lone surrogate)",
    ),
    (
        "category id twice",
        lambda it: it["categories"].append({"id": 1, "name": "x"}),
        "categories[2]: id 1 is used before",
    ),
    (
        "category name",
        lambda it: it["categories"].append({"id": 2}),
        "categories[2] (id 2): name is missing",
    ),
    (
        "annotation id twice",
        lambda it: it["annotations"][1].update(id=1),
        "annotations[1]: id 1 is used before",
    ),
    ("annotation id", lambda it: it["annotations"][1].pop("id"), "annotations[1]: has no id"),
    (
        "unknown picture",
        lambda it: it["annotations"][1].update(image_id=3),
        BOX + "there is no picture 3",
    ),
    (
        "picture of text",
        lambda it: it["annotations"][1].update(image_id="9"),
        BOX + "image_id must be an integer, it is '9'",
    ),
    (
        "unknown category",
        lambda it: it["annotations"][1].update(category_id=2),
        BOX + "there is no category 2",
    ),
    (
        "no category",
        lambda it: it["annotations"][1].pop("category_id"),
        BOX + "category_id must be an integer, it is None",
    ),
    ("no box", lambda it: it["annotations"][1].pop("bbox"), BOX + "bbox is missing"),
    (
        "box of text",
        lambda it: it["annotations"][1].update(bbox="1"),
        BOX + "bbox must be a list, it is '1'",
    ),
    (
        "short box",
        lambda it: it["annotations"][1].update(bbox=[1, 2, 3]),
        BOX + "bbox must be x, y, width, height, it has 3 numbers",
    ),
    (
        "negative box",
        lambda it: it["annotations"][1].update(bbox=[9, 9, -4, 5]),
        BOX + "bbox must not have negative sides, it is [9, 9, -4, 5]",
    ),
    (
        "box right of the picture",
        lambda it: it["annotations"][1].update(bbox=[31, 0, 5, 5]),
        BOX + "bbox [31, 0, 5, 5] is outside of its picture, which is 30x10",
    ),
    (
        "box below the picture",
        lambda it: it["annotations"][1].update(bbox=[0, 10.5, 5, 5]),
        BOX + "bbox [0, 10.5, 5, 5] is outside of its picture, which is 30x10",
    ),
    (
        "box left of the picture",
        lambda it: it["annotations"][1].update(bbox=[-6, 0, 5, 5]),
        BOX + "bbox [-6, 0, 5, 5] is outside of its picture, which is 30x10",
    ),
    (
        "box above the picture",
        lambda it: it["annotations"][1].update(bbox=[0, -6, 5, 5]),
        BOX + "bbox [0, -6, 5, 5] is outside of its picture, which is 30x10",
    ),
    (
        "negative area",
        lambda it: it["annotations"][1].update(area=-1),
        BOX + "area must be 0 or more, it is -1",
    ),
    (
        "iscrowd",
        lambda it: it["annotations"][1].update(iscrowd=2),
        BOX + "iscrowd must be 0 or 1, it is 2",
    ),
]


@pytest.mark.parametrize(
    ("change", "expected"), [row[1:] for row in ERRORS], ids=[r[0] for r in ERRORS]
)
def test_errors_have_their_location(
    tmp_path: Path, change: Callable[[Document], object], expected: str
) -> None:
    assert errors(tmp_path, changed(change)) == [expected]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have(tmp_path: Path, number: str) -> None:
    # Python's reader takes them, so that they would go through the whole evaluation.
    value = number.replace("1e999", "Infinity").lower().replace("infinity", "inf")
    text = json.dumps(document())
    box = text.replace("3.5", number).encode()
    assert errors(tmp_path, box) == [
        f"annotations[0] (id 1): bbox must hold finite numbers, it is [1, 2, {value}, 4]"
    ]
    area = text.replace('"area": 9', f'"area": {number}').encode()
    assert errors(tmp_path, area) == [
        f"annotations[0] (id 1): area must be 0 or more, it is {value}"
    ]
    crowd = text.replace('"iscrowd": 0', f'"iscrowd": {number}').encode()
    assert errors(tmp_path, crowd) == [
        f"annotations[0] (id 1): iscrowd must be 0 or 1, it is {value}"
    ]


def test_all_errors_are_reported_at_once(tmp_path: Path) -> None:
    def change(it: Document) -> None:
        it["images"][0]["width"] = 0
        it["categories"][0]["name"] = ""
        it["annotations"][0].update(bbox=[1], area=-1, image_id=77)

    assert [error.split(":")[0] for error in errors(tmp_path, changed(change))] == [
        "images[0] (id 9)",
        "categories[0] (id 3)",
        "annotations[0] (id 1)",
        "annotations[0] (id 1)",
        "annotations[0] (id 1)",
    ]


def test_many_errors_are_counted(tmp_path: Path) -> None:
    def change(it: Document) -> None:
        it["annotations"] = [{"id": number} | NO_BOX for number in range(1, 31)]

    found = errors(tmp_path, changed(change))
    assert len(found) == 21
    assert found[-1] == "... and 10 more"


NO_BOX = {"image_id": 2, "category_id": 1, "area": 1, "iscrowd": 0}


# What is only worth a warning.


def test_boxes_that_end_outside_are_counted(tmp_path: Path) -> None:
    def change(it: Document) -> None:
        for number, box in enumerate(([29, 0, 2, 10], [29, 0, 2.5, 10], [-2, 0, 9, 9])):
            record = {"id": 10 + number, "bbox": box, "image_id": 9} | {
                key: value for key, value in it["annotations"][0].items() if key in NO_BOX
            }
            record["image_id"] = 9
            it["annotations"].append(record)

    found = datasets.load(build(tmp_path, changed(change)))
    # The first one is within the rounding of COCO's own boxes.
    assert found.warnings == (
        "2 boxes end outside of their picture (first: annotations[3] (id 11))",
    )
    assert found.plain


@pytest.mark.parametrize("box", [[30, 0, 0.5, 5], [0, 10, 5, 0.5], [-5, 0, 5, 5], [0, -5, 5, 5]])
def test_boxes_that_touch_their_picture_are_no_error(tmp_path: Path, box: list[float]) -> None:
    datasets.load(build(tmp_path, changed(lambda it: it["annotations"][1].update(bbox=box))))


def test_boxes_without_a_side_are_counted(tmp_path: Path) -> None:
    flat = changed(lambda it: it["annotations"][0].update(bbox=[1, 1, 0, 5]))
    found = datasets.load(build(tmp_path, flat))
    assert found.warnings == ("1 boxes have a side of 0 (first: annotations[0] (id 1))",)


def test_names_that_come_twice_are_counted(tmp_path: Path) -> None:
    def change(it: Document) -> None:
        it["images"][0]["file_name"] = "a.jpg"
        it["categories"][0]["name"] = "person"

    assert len(datasets.load(build(tmp_path, changed(change))).warnings) == 2


def test_what_is_left_out_is_filled_in_for_evaluators(tmp_path: Path) -> None:
    def change(it: Document) -> None:
        it["annotations"][0].pop("iscrowd")
        it["annotations"][0].pop("area")
        it["annotations"][0]["id"] = 0
        it["annotations"][1]["iscrowd"] = True

    out = tmp_path / "out"
    out.mkdir()
    found = datasets.load(build(tmp_path / "data", changed(change)))
    assert not found.plain
    assert [warning.split(" (first")[0] for warning in found.warnings] == [
        "1 annotation has id 0, which evaluators take for 'none'",
        "1 annotations have no area; taken as width times height",
        "1 annotations have no iscrowd; taken as 0",
        "1 annotations write iscrowd other than as 0 or 1",
    ]
    copy = datasets.for_evaluation(found, out)
    assert copy.parent == out
    expected = document()
    expected["annotations"][0].update(id=5, iscrowd=0, area=14)
    text = copy.read_text(encoding="utf-8")
    assert json.loads(text) == expected
    assert "true" not in text
    # The user's own file is as it was.
    assert json.loads(found.annotations_path.read_bytes()) == changed(change)


def test_a_complete_file_is_given_to_evaluators_as_it_is(tmp_path: Path) -> None:
    found = datasets.load(build(tmp_path, document()))
    assert datasets.for_evaluation(found, tmp_path) == found.annotations_path


def test_a_byte_order_mark_is_read_and_taken_off(tmp_path: Path) -> None:
    found = datasets.load(build(tmp_path, b"\xef\xbb\xbf" + json.dumps(document()).encode()))
    copy = datasets.for_evaluation(found, tmp_path)
    assert copy != found.annotations_path
    assert json.loads(copy.read_bytes()) == document()


# The pictures on disk.


def test_missing_pictures_are_listed(tmp_path: Path) -> None:
    root = build(tmp_path, document())
    (root / "val2017" / "a.jpg").unlink()
    (root / "val2017" / "c.jpg").write_bytes(b"")
    (root / "val2017" / "sub" / "b ä.png").unlink()
    (root / "val2017" / "sub" / "b ä.png").mkdir()
    with pytest.raises(CascadeportError, match="3 errors") as caught:
        datasets.load(root)
    assert sorted(caught.value.details) == [
        "picture 2: 'a.jpg' is missing",
        "picture 5: 'sub/b ä.png' is not a file",
        "picture 9: 'c.jpg' is empty (0 bytes)",
    ]
    assert "--keep-going" in caught.value.next


def test_keep_going_leaves_missing_pictures_to_the_run(tmp_path: Path) -> None:
    root = build(tmp_path, document())
    whole = datasets.load(root)
    (root / "val2017" / "a.jpg").unlink()
    (root / "val2017" / "c.jpg").write_bytes(b"")
    found = datasets.load(root, keep_going=True)
    assert found.items == whole.items
    assert found.digest != whole.digest
    assert [warning.split(" (first")[0] for warning in found.warnings] == [
        "2 pictures are missing or empty"
    ]


@pytest.mark.parametrize(
    ("on_disk", "hint"),
    [
        ("A.JPG", "; there is 'A.JPG'"),
        ("a.jpeg", "; there is 'a.jpeg'"),
        ("other.jpg", ""),
    ],
)
def test_a_name_that_is_nearly_right(tmp_path: Path, on_disk: str, hint: str) -> None:
    root = build(tmp_path, document())
    (root / "val2017" / "a.jpg").rename(root / "val2017" / on_disk)
    with pytest.raises(CascadeportError) as caught:
        datasets.load(root)
    assert caught.value.details == [f"picture 2: 'a.jpg' is missing{hint}"]


def test_a_name_in_another_unicode_form(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFC", "ä.jpg")
    root = build(tmp_path, changed(lambda it: it["images"][1].update(file_name=name)))
    path = root / "val2017" / unicodedata.normalize("NFD", name)
    path.write_bytes(b"1")
    with pytest.raises(CascadeportError) as caught:
        datasets.load(root)
    assert "another Unicode form (NFD" in caught.value.details[0]
    path.rename(root / "val2017" / name)
    datasets.load(root)


def test_links_that_a_container_cannot_follow(tmp_path: Path) -> None:
    root = build(tmp_path / "data", document())
    path = root / "val2017" / "a.jpg"
    path.rename(tmp_path / "elsewhere.jpg")
    path.symlink_to(tmp_path / "elsewhere.jpg")
    assert "lead out of their folder" in datasets.load(root).warnings[0]
    path.unlink()
    path.symlink_to("c.jpg")
    assert datasets.load(root).warnings == ()


def test_folders_and_files_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="folder does not exist"):
        datasets.load(tmp_path / "absent")
    build(tmp_path, document())
    with pytest.raises(CascadeportError, match="annotation file does not exist") as caught:
        datasets.load(tmp_path, annotations="annotations/instances_val2014.json")
    assert "perhaps you meant 'annotations/instances_val2017.json'" in caught.value.next
    with pytest.raises(CascadeportError, match="folder of pictures does not exist") as caught:
        datasets.load(tmp_path, pictures="vall2017")
    assert "perhaps you meant 'val2017'" in caught.value.next


# Real data.


def test_real_pictures(shared: Path) -> None:
    found = datasets.load(shared / "coco26")
    assert (len(found.items), len(found.categories)) == (26, 80)
    assert (found.name, found.warnings, found.plain) == ("coco26", (), True)
    assert found.items[0] == datasets.Item(285, "000000000285.jpg", 586, 640)
