"""infer: the run's detections, from pictures alone; and what happens when it is interrupted."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.draw import draw_boxes
from bundle.errors import BundleError
from bundle.frozen.infer import Request, Summary, infer
from bundle.frozen.layout import read_frozen
from bundle.frozen.pictures import find_pictures, picture_ids
from bundle.job import Job
from bundle.run import run
from bundle.runners import Outputs, Runner, open_runner
from bundle.shards import Shard
from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder
from tests.helpers.frozen_folder import call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A frozen folder, with pictures beside it."""
    return frozen_folder.small(tmp_path)


def detect(
    folder: Path,
    out: Path,
    request: Request = Request(),  # noqa: B008
    source: Path | None = None,
    load: Callable[[Job], Runner] = open_runner,
) -> Summary:
    """Runs `infer` in this process."""
    pictures = source or folder.parent / "pictures"
    found = find_pictures(str(pictures), str(out), io.BytesIO())
    return infer(read_frozen(str(folder)), found, str(out), request, load)


def lines(path: Path) -> list[dict[str, object]]:
    """The lines of a JSON lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_detections_are_those_of_the_run_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    for number, item in enumerate(content["pictures"]["items"]):
        item["id"] = number
    run(jobs.checked(content), str(tmp_path / "run"))
    done = detect(folder, tmp_path / "out", Request(("coco",)))
    assert done == Summary(5, 5, 0, 0)
    wanted = (tmp_path / "run" / "detections.json").read_bytes()
    assert (tmp_path / "out" / "detections.json").read_bytes() == wanted
    pictures = json.loads((tmp_path / "out" / "pictures.json").read_text())
    assert [one["file_name"] for one in pictures["images"]] == [f"{n}.png" for n in range(5)]
    assert (pictures["images"][3]["width"], pictures["images"][3]["height"]) == (200, 113)


def test_txt_and_drawn_pictures(folder: Path, tmp_path: Path) -> None:
    detect(folder, tmp_path / "out", Request(("txt",), draw=True))
    name, *values = (tmp_path / "out/txt/0.txt").read_text().rsplit(maxsplit=5)
    assert name == "red thing"
    assert [float(value) for value in values] == [np.float32(0.9), *jobs.rectangle(64, 48)]
    drawn = cv2.imread(str(tmp_path / "out/drawn/0.jpg"))
    image = cv2.imread(str(tmp_path / "pictures/0.png"))
    box = np.array([jobs.rectangle(64, 48)])
    wanted = draw_boxes(image, box, ["red thing"], [0.9])
    jpeg = cv2.imdecode(cv2.imencode(".jpg", wanted)[1], cv2.IMREAD_COLOR)
    assert np.array_equal(drawn, jpeg)


def test_a_rotated_picture_has_the_size_of_its_pixels(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    image = np.zeros((48, 64, 3), np.uint8)
    image[16:40, 16:48, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.jpg", exif=exif, quality=100, subsampling=0)
    detect(folder, tmp_path / "out", source=tmp_path / "in")
    (line,) = lines(tmp_path / "out/detections.jsonl")
    assert (line["width"], line["height"]) == (48, 64)
    (found,) = line["detections"]  # type: ignore[misc]
    assert np.abs(np.array(found["bbox"]) - [8, 16, 24, 32]).max() < 1.5


def test_bad_pictures_are_reported_and_the_exit_code_says_so(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "text.png").write_bytes(b"hello")
    (pictures / "notes.txt").write_text("not a picture")
    (pictures / ".hidden.png").write_bytes(b"")
    done = call(folder, "infer", pictures, tmp_path / "out", "--draw", "--format", "coco")
    assert done.returncode == 1
    assert done.stdout == f"7 pictures, 5 detections, 2 skipped: {tmp_path / 'out'}\n"
    assert "skipped empty.jpg: The picture is empty: 0 bytes." in done.stderr
    assert "skipped text.png: The picture is not a JPEG" in done.stderr
    assert "1 files are not pictures by their names" in done.stderr
    written = lines(tmp_path / "out/detections.jsonl")
    assert [one["file"] for one in written if "skipped" in one] == ["empty.jpg", "text.png"]
    assert json.loads((tmp_path / "out/infer.json").read_text())["skipped"] == 2


def test_a_single_picture_and_a_list(folder: Path, tmp_path: Path) -> None:
    single = call(folder, "infer", tmp_path / "pictures/1.png", tmp_path / "single")
    assert single.returncode == 0, single.stderr
    wanted = lines(tmp_path / "single/detections.jsonl")[0]["detections"]
    names = [tmp_path / "pictures" / name for name in ("3.png", "1.png", "3.png")]
    for separator in ("\r\n", "\0"):
        text = separator.join(map(str, names)).encode()
        out = tmp_path / f"list{ord(separator[0])}{len(separator)}"
        done = call(folder, "infer", "-", out, "--format", "txt", stdin=text)
        assert done.returncode == 0, done.stderr
        written = lines(out / "detections.jsonl")
        assert [one["file"] for one in written] == [str(names[1]), str(names[0])]
        assert written[0]["detections"] == wanted
        assert sorted(path.name for path in (out / "txt").iterdir()) == ["1.txt", "3.txt"]


def test_names_of_files_can_be_anything(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    names = [b"\xff\xfe.png", "ü \n.png".encode(), b"\x1b[2J.jpg", b"'\"$(x).png"]
    jobs.write_picture(root / "a.png", 64, 48)
    for name in names:
        shutil.copy(root / "a.png", os.fsencode(root) + b"/" + name)
    (root / "\x1b[2J.jpg").write_bytes(b"")
    done = call(folder, "infer", root, tmp_path / "out", "--draw", "--format", "txt")
    assert done.returncode == 1, done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "skipped \\x1b[2J.jpg: The picture is empty" in done.stderr
    assert len(lines(tmp_path / "out/detections.jsonl")) == 5
    assert len(list((tmp_path / "out/txt").iterdir())) == 4


@pytest.mark.parametrize("given", ["nowhere", "empty"])
def test_no_pictures(folder: Path, tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    done = call(folder, "infer", tmp_path / given, tmp_path / "out")
    assert done.returncode == 2
    assert ("no such folder" if given == "nowhere" else "no pictures") in done.stderr
    assert "Traceback" not in done.stderr
    assert call(folder, "infer", "-", tmp_path / "out").returncode == 2


def test_names_of_results_never_collide(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("a.png", "A.jpg", "b/c.png", "b/c.bmp", "b/d.png"):
        jobs.write_picture(root / name, 32, 32)
    detect(folder, tmp_path / "out", Request(("txt",), draw=True), root)
    written = {
        str(one.relative_to(tmp_path / "out/txt")) for one in (tmp_path / "out/txt").rglob("*.txt")
    }
    assert written == {"a.png.txt", "A.jpg.txt", "b/c.png.txt", "b/c.bmp.txt", "b/d.txt"}
    # Results inside the folder of pictures are no pictures.
    first = detect(folder, root / "out", Request(draw=True), root)
    assert first.pictures == 5
    assert detect(folder, root / "out", Request(draw=True), root) == first


def test_ids() -> None:
    assert picture_ids(["x/000000000139.jpg", "7.png"]) == [139, 7]
    assert picture_ids(["1.jpg", "01.jpg"]) == [1, 2]
    assert picture_ids(["a.jpg", "7.jpg"]) == [1, 2]
    assert picture_ids(["²3.jpg"]) == [1]
    assert picture_ids(["9" * 17 + ".jpg"]) == [1]


class Dying(Runner):
    """A device that is lost after some pictures."""

    def __init__(self, job: Job, left: int) -> None:
        self._inner = open_runner(job)
        self._left = left

    def run(self, batch: np.ndarray) -> Outputs:
        self._left -= 1
        if self._left < 0:
            raise BundleError("The device is lost.", "device 0", "Check it.")
        return self._inner.run(batch)

    def describe(self) -> dict[str, Any]:
        return self._inner.describe()

    def close(self) -> None:
        self._inner.close()


def test_a_run_goes_on_where_its_device_was_lost(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "2b.png").write_bytes(b"bad")
    whole = Request(("coco", "txt"), draw=True)
    detect(folder, tmp_path / "whole", whole)
    with pytest.raises(BundleError, match="device is lost"):
        detect(folder, tmp_path / "out", whole, load=lambda job: Dying(job, 3))
    part = tmp_path / "out" / "detections.jsonl.part"
    assert 1 <= len(part.read_bytes().splitlines()) <= 4
    # A killed process may leave half a line.
    with part.open("ab") as stream:
        stream.write(b'{"id": 3, "fi')
    assert json.loads((tmp_path / "out/infer.json").read_text())["state"] == "running"
    detect(folder, tmp_path / "out", whole)
    assert same(tmp_path / "whole", tmp_path / "out")
    # And nothing runs a third time.
    detect(folder, tmp_path / "out", whole, load=lambda job: Dying(job, 0))


def same(first: Path, second: Path) -> bool:
    """Whether two folders have the same files with the same content."""
    found = [
        {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (first, second)
    ]
    return found[0] == found[1]


def test_a_picture_that_changed_meanwhile_is_looked_at_again(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        detect(folder, tmp_path / "out", load=lambda job: Dying(job, 4))
    jobs.write_picture(tmp_path / "pictures/1.png", 64, 64)
    detect(folder, tmp_path / "out")
    detect(folder, tmp_path / "whole")
    assert same(tmp_path / "whole", tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_and_the_next_one(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    root = tmp_path / "many"
    for index in range(300):
        root.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "pictures" / f"{index % 5}.png", root / f"{index:03}.png")
    command = frozen_folder.command(folder, "infer", root, tmp_path / "out")
    environment = {**jobs.environment(), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    part = tmp_path / "out" / "detections.jsonl.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size > 2000):
        pass
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert b"Traceback" not in errors
    assert part.exists()
    second = call(folder, "infer", root, tmp_path / "out")
    assert second.returncode == 0, second.stderr
    assert "going on: " in second.stderr
    detect(folder, tmp_path / "whole", source=root)
    assert same(tmp_path / "whole", tmp_path / "out")


def test_the_health_check_leaves_the_device_to_infer(folder: Path, tmp_path: Path) -> None:
    environment = {**jobs.environment(), "TMPDIR": str(tmp_path)}
    root, note = tmp_path / "many", tmp_path / f"cascadeport-serve-{os.getuid()}.json"
    for index in range(300):
        jobs.write_picture(root / f"{index:03}.png", 64, 48)
    command = frozen_folder.command(folder, "infer", root, tmp_path / "out")
    process = subprocess.Popen(command, env=environment)
    while not note.exists() or not note.read_text().endswith("}"):
        assert process.poll() is None
    process.send_signal(signal.SIGSTOP)
    health = frozen_folder.command(folder, "selftest", "--health")
    done = subprocess.run(health, env=environment, capture_output=True, check=False)
    process.send_signal(signal.SIGCONT)
    assert (done.returncode, done.stdout) == (0, b"infer is running\n")
    assert process.wait(60) == 0
    assert not note.exists()


def test_results_of_something_else_are_not_overwritten(folder: Path, tmp_path: Path) -> None:
    detect(folder, tmp_path / "out")
    jobs.write_picture(tmp_path / "pictures/9.png", 64, 64)
    with pytest.raises(BundleError, match="another run: list of pictures differs"):
        detect(folder, tmp_path / "out")
    assert detect(folder, tmp_path / "out", Request(again=True)).pictures == 6
    (tmp_path / "out" / "infer.json").unlink()
    with pytest.raises(BundleError, match="no record"):
        detect(folder, tmp_path / "out")


def test_shards_together_are_the_whole(folder: Path, tmp_path: Path) -> None:
    detect(folder, tmp_path / "whole", Request(("coco",)))
    for index in (1, 2, 3):
        detect(folder, tmp_path / "out", Request(("coco",), shard=Shard(index, 3)))
    merged = [
        one for index in (1, 2, 3) for one in lines(tmp_path / f"out/detections.{index}-of-3.jsonl")
    ]
    assert sorted(merged, key=lambda one: one["id"]) == lines(tmp_path / "whole/detections.jsonl")  # type: ignore[arg-type,return-value]
    assert len(lines(tmp_path / "out/detections.3-of-3.jsonl")) == 1
    # More shards than pictures.
    assert detect(folder, tmp_path / "out", Request(shard=Shard(9, 9))).pictures == 0


def test_no_space_is_a_sentence_and_the_work_is_kept(folder: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "many", tmp_path / "out"
    for index in range(40):
        jobs.write_picture(root / f"{index:02}.png", 64, 48)
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", str(out)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not mount a tmpfs")
    try:
        with pytest.raises(BundleError) as caught:
            detect(folder, out, source=root)
        assert caught.value.what == "A result cannot be written: No space left on device."
        assert "Free space" in caught.value.next
        subprocess.run(["mount", "-o", "remount,size=1m", str(out)], check=True)
        done = detect(folder, out, source=root, load=lambda job: Dying(job, 39))
        assert done.pictures == 40
        detect(folder, tmp_path / "whole", source=root)
        assert same(tmp_path / "whole", out)
    finally:
        subprocess.run(["umount", str(out)], check=True)


@pytest.mark.parametrize("out", ["/proc/results", "file/results"])
def test_a_folder_that_cannot_be_written(folder: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("")
    done = call(folder, "infer", tmp_path / "pictures", tmp_path / out)
    assert done.returncode == 2
    assert "A result cannot be written: " in done.stderr
    assert "Use a folder that can be written to." in done.stderr


def test_two_at_once(folder: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".infer.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="Another process"):
            detect(folder, tmp_path / "out")


def test_a_damaged_network_is_not_run(folder: Path, tmp_path: Path) -> None:
    with (folder / "networks" / "tiny.onnx").open("ab") as stream:
        stream.write(b"\0")
    done = call(folder, "infer", tmp_path / "pictures", tmp_path / "out")
    assert done.returncode == 2
    assert "is not the one in the job" in done.stderr


def test_labels_are_loud(tmp_path: Path) -> None:
    label = {"name": "simulated", "reason": "It ran on a stand-in for CANN."}
    folder = frozen_folder.small(tmp_path, labels=[label])
    done = call(folder, "infer", tmp_path / "pictures", tmp_path / "out")
    assert done.returncode == 0
    assert "WARNING: this image is SIMULATED: It ran on a stand-in for CANN." in done.stderr
    assert json.loads((tmp_path / "out/infer.json").read_text())["labels"] == [label]
