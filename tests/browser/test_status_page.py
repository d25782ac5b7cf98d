"""The status page in a real browser: what it shows, in light and dark, at the width of a phone, and what it may do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tools.pictures import QUIET, sample, served

playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here: make test-browser installs it")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.integration,
    # Of the system, not of Python's packages; .ci/run installs it.
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: Debian's package is chromium"),
]
PHONE, DESK = 375, 1280


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=list(QUIET))
        yield opened
        opened.close()


class Seen:
    """A tab that shows a document; `complaints` are errors of the console and of the script, `asked` the requests."""

    def __init__(self, browser: Any, address: str, scheme: str = "light", width: int = DESK) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        self.tab = context.new_page()
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("dialog", self._refuse)
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.reply = self.tab.goto(address)
        playwright.expect(self.tab.get_by_role("status")).not_to_have_text("…")

    def _refuse(self, dialog: Any) -> None:
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def text(self, name: str) -> str:
        """Of the element with this id."""
        return str(self.tab.locator(f"#{name}").inner_text())


def test_page_shows_health_and_charts_and_hours_and_shards_and_customers(browser: Any) -> None:
    document = sample()
    with served(document) as address:
        seen = Seen(browser, address)
        playwright.expect(seen.tab.get_by_role("status")).to_have_text("not ready")
        assert seen.tab.title() == "not ready: clickstream"
        assert "reading, for 20 min" in seen.text("troubles")
        assert "no page of shardId-000000000003 for 25 min" in seen.text("troubles")
        assert "What to do: " in seen.text("troubles")
        for chart, shown in (("events", "now 1.4 k"), ("bytes", "now 1.4 MB"), ("lag", "now 25 min, at most 25 min")):
            assert shown in seen.text(chart)
            assert len(seen.tab.locator(f"#{chart} path").get_attribute("d")) > 1000
        states = [cell.get_attribute("class") for cell in seen.tab.locator("#hours span").all()]
        assert (len(states), states[7], states[-2:]) == (48, "empty", ["late", "open"])
        assert seen.text("shards").split("\n")[1].split() == ["shardId-000000000003", "ip-10-0-0-2:17", "25", "min"]
        assert "not ready" in seen.text("workers")
        assert "missing_customer\t1.3 k" in seen.text("rejections")
        assert seen.complaints == []


def test_page_shows_names_as_text_and_runs_nothing_of_them(browser: Any) -> None:
    """Customers, shards, reasons, details: whatever a producer or a reply writes."""
    document = sample()
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    document["customers"] = [[evil, 5]]
    document["shards"] = [[evil, evil, 1.0]]
    document["troubles"] = [[evil, evil, None, evil]]
    document["stream"] = document["store"] = evil
    with served(document) as address:
        seen = Seen(browser, address)
        assert seen.text("customers").split("\n")[1] == f"{evil}\t5B"
        assert seen.tab.locator("main img, main script, header img, header script").count() == 0
        assert seen.complaints == []


def test_page_lists_no_customers_when_it_is_switched_off(browser: Any) -> None:
    document = sample() | {"customers": None}
    with served(document) as address:
        seen = Seen(browser, address)
        assert not seen.tab.get_by_text("Customers by bytes").is_visible()


def test_page_of_a_worker_that_has_just_started_is_well_formed(browser: Any) -> None:
    document = sample() | {
        name: [] for name in ("troubles", "notices", "history", "hours", "shards", "customers", "rejections")
    }
    with served(document | {"ready": True}) as address:
        seen = Seen(browser, address)
        playwright.expect(seen.tab.get_by_role("status")).to_have_text("ready")
        assert not seen.tab.locator("#trouble").is_visible()
        assert seen.text("events") == "nothing yet"
        assert seen.complaints == []


def test_page_needs_nothing_from_elsewhere_and_forbids_it(browser: Any) -> None:
    with served(sample()) as address:
        seen = Seen(browser, address)
        assert {url.removeprefix(address) for url in seen.asked} == {"", "status.json"}
        policy = seen.reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        with pytest.raises(playwright.Error):
            seen.tab.evaluate("async () => { await fetch('http://127.0.0.1:1/'); }")
        seen.tab.evaluate("() => { const it = document.createElement('script'); it.textContent = 'window.ran = 1';"
                          " document.body.append(it); }")  # fmt: skip
        assert seen.tab.evaluate("() => window.ran") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable_in_light_and_dark(browser: Any, scheme: str) -> None:
    """Text and ground differ as WCAG asks for: 4.5 to 1."""
    with served(sample()) as address:
        seen = Seen(browser, address, scheme)
        script = """() => ['body', '.verdict', 'td', 'p', '.late', '.closed', '.open'].map(which => {
            const found = document.querySelector(which); let at = found, ground = 'rgba(0, 0, 0, 0)';
            for (; at && ground === 'rgba(0, 0, 0, 0)'; at = at.parentElement)
                ground = getComputedStyle(at).backgroundColor;
            return [which, getComputedStyle(found).color, ground]; })"""
        colours = seen.tab.evaluate(script)
        assert (luminance(colours[0][2]) > 0.5) == (scheme == "light")
        for which, text, ground in colours:
            lighter, darker = sorted((luminance(text), luminance(ground)), reverse=True)
            least = 3.0 if which in (".verdict", ".open") else 4.5
            assert (lighter + 0.05) / (darker + 0.05) >= least, (which, text, ground)


def test_page_fits_the_width_of_a_phone(browser: Any) -> None:
    """With long names, too: nothing is to be scrolled sideways."""
    document = sample()
    document["customers"] = [["x" * 300, 5]]
    document["shards"] = [["shardId-" + "9" * 20, "ip-10-0-0-1.eu-central-1.compute.internal:17:aa", 1.0]]
    document["store"] = "s3://" + "b" * 200
    with served(document) as address:
        seen = Seen(browser, address, width=PHONE)
        assert seen.tab.evaluate("() => document.documentElement.scrollWidth") <= PHONE


def luminance(colour: str) -> float:
    """By WCAG 2, of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
