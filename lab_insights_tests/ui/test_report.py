"""The report in a real browser: alone, without a network, on a telephone, on paper, and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from lab_insights.lab.report.deidentify import deidentified
from lab_insights.lab.report.page import render
from lab_insights_tests.lab.report.rows import page as report
from lab_insights_tests.ui.conftest import ARGUMENTS, CHROMIUM, SCREENSHOTS

CONTRAST = """() => {
  const light = colour => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255).map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const weak = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!text || !element.getClientRects().length) continue;
    const drawn = element.namespaceURI.endsWith("svg") ? getComputedStyle(element).fill : getComputedStyle(element).color;
    const [dark, bright] = [light(drawn), light(behind(element))].sort((a, b) => a - b);
    if ((bright + .05) / (dark + .05) < 4.5) weak.push(element.tagName + ": " + element.textContent.trim().slice(0, 40));
  }
  return weak;
}"""
UNNAMED = """() => [...document.querySelectorAll("figure, section, svg, nav, [role=region]")].filter(element => {
  const by = element.getAttribute("aria-labelledby");
  return !(element.getAttribute("aria-label") || (by && document.getElementById(by)?.textContent));
}).map(element => element.tagName)"""


@dataclass
class Opened:
    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("report")
    made = {"report": report(), "shared": deidentified(report())}
    for name, page in made.items():
        (directory / f"{name}.html").write_text(render(page))
    return {name: directory / f"{name}.html" for name in made}


@pytest.fixture
def opened() -> Iterator[Opened]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        found = Opened(browser.new_page(viewport={"width": 1400, "height": 900}))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("request", lambda request: found.asked.append(request.url))
        yield found
        browser.close()


@pytest.mark.parametrize("name", ["report", "shared"])
def test_the_page_asks_for_nothing_and_complains_of_nothing(opened: Opened, files: dict[str, Path], name: str) -> None:
    opened.page.goto(files[name].as_uri())
    assert opened.complaints == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [files[name].as_uri()]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened.page.screenshot(path=SCREENSHOTS / f"report-{name}.png", full_page=True)


def test_a_telephone_shows_it_without_scrolling_sideways(opened: Opened, files: dict[str, Path]) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.goto(files["report"].as_uri())
    for summary in opened.page.locator("summary").all():
        summary.click()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
    opened.page.screenshot(path=SCREENSHOTS / "report-phone.png", full_page=True)


def test_every_text_stands_out_and_everything_has_a_name(opened: Opened, files: dict[str, Path]) -> None:
    opened.page.goto(files["report"].as_uri())
    assert opened.page.evaluate(CONTRAST) == []
    assert opened.page.evaluate(UNNAMED) == []
    assert opened.page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(each => +each.tagName[1]).every((n, i, all) => !i || n <= all[i - 1] + 1)"
    )
    assert opened.page.evaluate("document.documentElement.lang") == "en"


def test_the_keyboard_reaches_the_figures(opened: Opened, files: dict[str, Path]) -> None:
    opened.page.goto(files["report"].as_uri())
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.parentElement.open")


def test_on_paper_nothing_is_cut_off(opened: Opened, files: dict[str, Path]) -> None:
    opened.page.goto(files["report"].as_uri())
    opened.page.emulate_media(media="print")
    opened.page.set_viewport_size({"width": 700, "height": 1000})
    cut = "[...document.querySelectorAll('figure')].filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.textContent.slice(0, 60))"
    assert opened.page.evaluate(cut) == []
    beyond = (
        "[...document.querySelectorAll('figure svg text')].filter(each => each.getBoundingClientRect().right > "
        "each.closest('figure').getBoundingClientRect().right).map(each => each.textContent)"
    )
    assert opened.page.evaluate(beyond) == []
    assert len(opened.page.pdf(format="A4")) > 20_000
