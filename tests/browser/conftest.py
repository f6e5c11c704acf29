"""Chromium, the site that it opens, and what it reports. Needs playwright, and Chromium."""

import shutil
from pathlib import Path

import pytest

from tests.browser.site import SITE, pages_of, served

CHROMIUM = shutil.which("chromium")


def pytest_collection_modifyitems(items):
    """Mark the tests of the site, which share a worker and one browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("site"))


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(120_000)  # the machine may be busy
    yield page
    page.close()


@pytest.fixture(scope="module")
def address():
    if not pages_of(SITE):
        pytest.skip("needs the site that `make docs` builds")
    with served(SITE) as address:
        yield address


@pytest.fixture
def said(page, address):
    """The reports of the browser meanwhile: console, errors, and requests to other addresses."""
    lines = []
    ours = (address, "data:", "blob:")

    def asked(request):
        if not request.url.startswith(ours):
            lines.append(f"asked: {request.url}")

    events = {
        "console": lambda line: lines.append(f"console: {line.text}"),
        "pageerror": lambda error: lines.append(f"error: {error}"),
        "request": asked,
    }
    for event, listener in events.items():
        page.on(event, listener)
    yield lines
    for event, listener in events.items():
        page.remove_listener(event, listener)
