"""The report in a real browser: silent, offline, legible on a phone, usable without a script."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from cascadeport import report
from cascadeport.report import Beside
from cascadeport.results import comparison as compare
from cascadeport.results import drift, gate
from cascadeport.results.published import PublishedFigures

from tests.helpers import finished

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 812}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, the system's own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of four targets, with awkward names and an invalid result."""
    folder = tmp_path_factory.mktemp("report")
    boxes = finished.dataset(folder / "data")
    skipped = [{"id": 2, "file": "broken.jpg", "reason": "The picture is empty: 0 bytes."}]
    finished.finish(folder, boxes)
    finished.finish(folder, boxes, target="310", title="Ascend 310", simulated=True, seed=3)
    finished.finish(
        folder, boxes, target="310P3", title="Ascend 310P3", seed=2, semantics=["NMS in float16."]
    )
    finished.finish(folder, boxes, target="T4", title="T4", status="partial", skipped=skipped)
    found = compare.collect(folder, finished.known(folder, boxes), ("cpu", "310", "310P3", "T4"))
    published = PublishedFigures("T4", "NVIDIA T4, published", "a source " * 20, device_ips=3.97)
    table = compare.compare(found, [published])
    out = folder / "comparison.html"
    report.render([one.result for one in found if one.result], table, out, boxes)
    return out.as_uri()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with verdicts, drift and intervals."""
    folder = tmp_path_factory.mktemp("full")
    boxes = finished.dataset(folder / "data", pictures=24)
    finished.finish(folder, boxes)
    finished.finish(folder, boxes, target="310", title="Ascend 310", simulated=True, seed=3)
    finished.finish(folder, boxes, target="310P3", title="Ascend 310P3", seed=2, milliseconds=10)
    known = finished.known(folder, boxes)
    found = compare.collect(folder, known, ("cpu", "310", "310P3"))
    published = PublishedFigures("T4", "NVIDIA T4, published", "a source " * 20, device_ips=3.97)
    table = gate.judge(compare.compare(found, [published]), found, [published], known)
    results = [one.result for one in found if one.result]
    rows = compare.comparable(table.rows, {one.target: one for one in results})
    beside = Beside(drift.update(folder, rows, boxes), {"cpu": "signed by SHA256:abc"})
    out = folder / "comparison.html"
    report.render(results, table, out, boxes, beside)
    return out.as_uri()


class Visit:
    """An open page, and what it said and asked for."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        # A busy machine draws slowly; no test is about speed.
        self.context.set_default_timeout(180_000)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """Opens the report: `visit(viewport=...)`."""
    opened: list[Visit] = []

    def open_report(**options: Any) -> Visit:
        opened.append(Visit(browser, address, **options))
        return opened[-1]

    yield open_report
    for one in opened:
        one.context.close()


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [
        (DESKTOP, "light"),
        (DESKTOP, "dark"),
        (PHONE, "dark"),
        ({"width": 320, "height": 640}, "light"),
    ],
)
def test_silent_self_contained_and_within_the_window(
    visit: Any, address: str, viewport: dict[str, int], scheme: str
) -> None:
    opened = visit(viewport=viewport, color_scheme=scheme)
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [address]
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    # What is wider than a phone scrolls within its own box.
    for box in page.locator(".scroll").all():
        assert box.bounding_box()["width"] <= viewport["width"]
    assert page.locator("table").count() >= 5
    assert page.locator("script").count() == 1


def test_every_picture_is_decoded_and_drawn(visit: Any) -> None:
    page = visit(viewport=DESKTOP).page
    assert page.locator("figure.picture").count() == 12
    decoded = page.evaluate(
        """Promise.all([...document.querySelectorAll('svg image')].map(async (one) => {
            const image = new Image();
            image.src = one.getAttribute('href');
            await image.decode();
            return image.naturalWidth * image.naturalHeight;
        }))"""
    )
    assert len(decoded) == 12
    assert min(decoded) > 10_000
    # Both panels of a picture show it: the second one refers to the first one's.
    for panel in page.locator("figure.picture svg").all()[:4]:
        panel.scroll_into_view_if_needed()
        pixels = panel.screenshot()
        assert len(pixels) > 1000


@pytest.mark.parametrize("script", [True, False])
def test_the_chooser_changes_whose_boxes_are_drawn(visit: Any, script: bool) -> None:
    page = visit(viewport=PHONE, java_script_enabled=script).page
    shown = page.locator("figure.picture figcaption .series:visible")
    assert shown.count() == 12
    assert "of-0" in shown.first.get_attribute("class")
    page.get_by_text("Ascend 310P3", exact=True).locator("visible=true").and_(
        page.locator("label")
    ).click()
    assert shown.count() == 12
    assert "of-2" in shown.first.get_attribute("class")
    assert page.locator("g.of-0:visible").count() == 0


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
@pytest.mark.parametrize("script", [True, False])
def test_a_picture_is_enlarged_and_closed(
    visit: Any, viewport: dict[str, int], script: bool
) -> None:
    page = visit(viewport=viewport, java_script_enabled=script).page
    picture = page.locator("figure.picture").nth(2)
    panel = picture.locator(".panel svg").first
    before = panel.bounding_box()["width"] * panel.bounding_box()["height"]
    names = picture.locator("text:visible")
    assert names.count() == 0
    picture.locator("a.pair").click()
    after = panel.bounding_box()["width"] * panel.bounding_box()["height"]
    assert after > 2 * before
    whole = picture.bounding_box()
    assert (whole["width"], whole["height"]) == (viewport["width"], viewport["height"])
    picture.get_by_text("Close").click()
    assert panel.bounding_box()["width"] * panel.bounding_box()["height"] == before


def test_keys_turn_and_close_enlarged_pictures(visit: Any) -> None:
    page = visit(viewport=DESKTOP).page
    page.locator("figure.picture a.pair").first.click()
    page.keyboard.press("ArrowRight")
    assert page.locator("figure.picture:target").get_attribute("id") == "picture-2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("figure.picture:target").get_attribute("id") == "picture-12"
    page.keyboard.press("Escape")
    assert page.locator("figure.picture:target").count() == 0


def test_letters_stand_out_in_both_schemes(visit: Any) -> None:
    for scheme in ("light", "dark"):
        page = visit(viewport=DESKTOP, color_scheme=scheme).page
        ratios = page.evaluate(
            """() => {
                const channel = (value) => {
                    value /= 255;
                    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
                };
                const luminance = (colour) => {
                    const [r, g, b] = colour.match(/\\d+/g).map(Number).map(channel);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const paper = luminance(getComputedStyle(document.body).backgroundColor);
                return [".lead", ".measured", ".simulated", ".invalid", ".published", "td", "small"]
                    .map((name) => {
                        const ink = luminance(
                            getComputedStyle(document.querySelector(name)).color);
                        const [high, low] = [Math.max(ink, paper), Math.min(ink, paper)];
                        return (high + 0.05) / (low + 0.05);
                    });
            }"""
        )
        # WCAG 2 asks for 4.5.
        assert min(ratios) >= 4.5, ratios


def test_it_prints(visit: Any) -> None:
    page = visit(viewport=DESKTOP, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    )
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, full: str, scheme: str) -> None:
    """Accessibility, by axe-core (dequelabs/axe-core): WCAG 2 A and AA, and its best practices."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    visit = Visit(browser, full, viewport=DESKTOP, color_scheme=scheme, bypass_csp=True)
    try:
        visit.page.evaluate(
            "document.querySelectorAll('details').forEach((one) => { one.open = true })"
        )
        found = axe.Axe().run(visit.page)
    finally:
        visit.context.close()
    assert found.violations_count == 0, found.generate_report()


def test_a_column_sorts_both_ways_and_dashes_stay_at_the_end(browser: Any, full: str) -> None:
    visit = Visit(browser, full, viewport=DESKTOP)
    table = visit.page.locator("table.sortable").first
    column = table.locator("thead th").all_inner_texts().index("device\nimg/s")

    def shown() -> list[str]:
        return table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()

    header = table.locator("thead th").nth(column)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert shown() == ["3.97", "50.00", "100.00", "–"]
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert shown() == ["100.00", "50.00", "3.97", "–"]
    assert visit.said == []
    visit.context.close()


def test_categories_and_pictures_are_filtered(browser: Any, full: str) -> None:
    visit = Visit(browser, full, viewport=DESKTOP)
    page = visit.page
    rows = page.locator("#categories tr:visible")
    before = rows.count()
    page.get_by_label("Categories with").fill("kite")
    assert 0 < rows.count() < before
    assert all("kite" in text for text in rows.locator("th").all_inner_texts())
    pictures = page.locator("#drift-310P3 > div:visible")
    assert pictures.count() == 6
    page.locator("[data-filters=drift-310P3] button[data-kind=extra]").click()
    kinds = [one.get_attribute("data-kinds") for one in pictures.all()]
    assert kinds
    assert all("extra" in kind.split() for kind in kinds)
    visit.context.close()


def test_without_a_script_all_is_shown_and_nothing_is_offered(browser: Any, full: str) -> None:
    visit = Visit(browser, full, viewport=PHONE, java_script_enabled=False)
    assert visit.page.locator(".filter:visible").count() == 0
    assert visit.page.locator("#drift-310P3 > div:visible").count() == 6
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    visit.context.close()


def test_a_chart_is_enlarged(browser: Any, full: str) -> None:
    visit = Visit(browser, full, viewport=DESKTOP)
    figure = visit.page.locator(".charts figure").first
    before = figure.bounding_box()["width"]
    figure.get_by_role("button").click()
    assert figure.bounding_box()["width"] > 1.5 * before
    visit.context.close()
