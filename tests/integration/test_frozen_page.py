"""The server's page in Chromium: drop a picture, see the boxes; nothing else is loaded or run."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder
from tests.helpers.frozen_server import Server, serving

pytestmark = pytest.mark.browser

# Drops a file on the page, as a person's mouse does.
DROP = """
async ([name, text]) => {
  const content = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([content], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.getElementById("drop").dispatchEvent(
      new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a simulated frozen folder, and a large picture."""
    root = tmp_path_factory.mktemp("page")
    label = {"name": "simulated", "reason": "The run was made on a stand-in <b>for</b> CANN."}
    frozen_folder.complete(root, labels=[label])
    jobs.write_picture(root / "large.png", 800, 600)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    """A server."""
    with serving(root / "frozen") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if not executable:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A visit to the page, and everything that went wrong during it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda one: self.errors.append(one.text) if one.type == "error" else 0)
        page.on("pageerror", lambda one: self.errors.append(str(one)))
        page.on("request", lambda one: self.asked.append(one.url))
        page.goto(address)

    def drop(self, path: Path) -> None:
        text = base64.b64encode(path.read_bytes()).decode()
        self.page.evaluate(DROP, [path.name, text])

    def status(self, contains: str) -> None:
        self.page.wait_for_function(
            "(text) => document.getElementById('status').textContent.includes(text)", arg=contains
        )

    def canvas(self) -> np.ndarray:
        """The pixels of the canvas: (height, width, 3) uint8, BGR."""
        found: str = self.page.evaluate("document.getElementById('canvas').toDataURL()")
        data = base64.b64decode(found.split(",")[1])
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """A fresh visit."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    yield Visit(context.new_page(), f"http://127.0.0.1:{server.port}/")
    context.close()


def test_a_dropped_picture_shows_its_boxes(visit: Visit, root: Path, server: Server) -> None:
    visit.drop(root / "large.png")
    visit.status("1 of 1 detections, 800 x 600 pixels")
    found = visit.canvas()
    plain = cv2.imread(str(root / "large.png"))
    assert found.shape == plain.shape
    x1, y1, x2, y2 = jobs.rectangle(800, 600)
    changed = np.argwhere((found != plain).any(axis=2))
    top, left = changed.min(axis=0)
    bottom, right = changed.max(axis=0)
    assert abs(left - x1) <= 3
    assert abs(right - x2) <= 3
    assert abs(bottom - y2) <= 3
    assert y1 - 40 <= top <= y1 + 3  # the name stands above
    inside = found[y1 + 20 : y2 - 20, x1 + 20 : x2 - 20]
    assert (inside == plain[y1 + 20 : y2 - 20, x1 + 20 : x2 - 20]).all()
    assert visit.page.locator("#list li").all_inner_texts() == ["red thing\n0.900"]
    banner = visit.page.locator(".warning")
    assert banner.inner_text() == (
        "This image is SIMULATED: The run was made on a stand-in <b>for</b> CANN."
    )
    visit.page.screenshot(path=str(root / "page.png"), full_page=True)
    assert visit.page.locator("#key").is_hidden()
    assert visit.errors == []
    origin = f"http://127.0.0.1:{server.port}/"
    assert {url for url in visit.asked if not url.startswith(("blob:", "data:"))} == {
        origin,
        origin + "v1/detect",
    }


def test_scores_below_the_slider_are_hidden(visit: Visit, root: Path) -> None:
    visit.drop(root / "large.png")
    visit.status("1 of 1")
    visit.page.locator("#least").fill("0.95")
    visit.status("0 of 1")
    assert (visit.canvas() == cv2.imread(str(root / "large.png"))).all()


def test_a_file_is_chosen(visit: Visit, root: Path) -> None:
    visit.page.locator("#file").set_input_files(str(root / "pictures" / "0.png"))
    visit.status("1 of 1 detections, 64 x 48 pixels")


def test_what_is_no_picture(visit: Visit, root: Path) -> None:
    (root / "text.txt").write_text("hello")
    visit.drop(root / "text.txt")
    visit.status("The picture is not a JPEG, PNG, BMP or WebP file.")
    assert visit.page.locator("#canvas").is_hidden()


def test_nothing_foreign_runs_in_the_page(visit: Visit) -> None:
    """The policy stops what an injected element would do."""
    ran: Any = visit.page.evaluate(
        """async () => {
          const script = document.createElement("script");
          script.textContent = "window.injected = true";
          document.body.append(script);
          const image = new Image();
          image.src = "http://127.0.0.1:9/x.png";
          document.body.append(image);
          const fetched = await fetch("http://127.0.0.1:9/").then(() => true, () => false);
          return [window.injected === true, fetched];
        }"""
    )
    assert ran == [False, False]
    assert sum("Content Security Policy" in one for one in visit.errors) >= 3


def test_with_a_key(browser: Browser, root: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame")
    options = ("--api-key-file", tmp_path / "key")
    with serving(root / "frozen", *options) as server:
        context = browser.new_context()
        visit = Visit(context.new_page(), f"http://127.0.0.1:{server.port}/")
        visit.drop(root / "large.png")
        visit.status("An API key is needed")
        visit.page.locator("#key").fill("sesame")
        visit.drop(root / "large.png")
        visit.status("1 of 1 detections")
        context.close()
