"""The built site in Chromium: `make docs-test`. Needs playwright, and Chromium on the path."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")

SITE = Path(__file__).parents[2] / "site"
CHROMIUM = shutil.which("chromium")
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("index.html"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(not PAGES, reason="needs the site that `make docs` builds"),
    pytest.mark.xdist_group("site"),
]
SEARCHES = {
    "mode collapse": "models/gan/",
    "outlier": "guides/evaluate/",
    "validation": "guides/recipes/",
    "early stopping": "guides/recipes/",
    "GPU": "guides/several-gpus/",
    "DataLoader": "guides/data/",
    "CelebA": "guides/data/",
    "FID": "api/metrics/",
}
"""What people type -> the page that answers."""

PROBLEMS = """() => {
  const problems = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) problems.push("wider than the window");
  const shown = (selector) =>
    [...document.querySelectorAll(selector)].filter((node) => node.offsetParent !== null);
  const isCutOff = (node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 0;
  const isScrollable = (node) => getComputedStyle(node).overflowX === "auto";
  for (const node of shown(".md-content .arithmatex, .md-content pre > code"))
    if (isCutOff(node)) problems.push(`cut off: ${node.textContent.trim().slice(0, 80)}`);
  for (const node of shown(".md-content .md-typeset__scrollwrap"))
    if (isCutOff(node) && (width > 1000 || !isScrollable(node)))
      problems.push(`cut off: table ${node.textContent.trim().slice(0, 60)}`);
  for (const node of shown(".md-content .arithmatex"))
    if (!node.querySelector(".katex")) problems.push(`not typeset: ${node.textContent}`);
  for (const node of shown(".md-content img"))
    if (!node.alt || !node.naturalWidth) problems.push(`no text, or no image: ${node.src}`);
  return problems;
}"""


@pytest.fixture(scope="module")
def address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_nothing_is_cut_off_and_nobody_else_is_asked(browser, address, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = {}
    said = []
    page.on("console", lambda line: said.append(f"console: {line.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: said.append(f"asked: {request.url}"))
    for name in PAGES:
        said.clear()
        page.goto(address + name, wait_until="load")
        page.evaluate("document.fonts.ready")
        page.wait_for_timeout(50)
        ours = (f"asked: {address}", "asked: data:")
        problems = [line for line in said if not line.startswith(ours)] + page.evaluate(PROBLEMS)
        if problems:
            found[name] = problems
    page.close()
    assert found == {}


def test_search_answers(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    missing = []
    for words, answer in SEARCHES.items():
        page.fill("input.md-search__input", "")
        page.fill("input.md-search__input", words)
        result = page.locator(".md-search-result__link")
        result.first.wait_for()
        page.wait_for_timeout(300)
        links = [link.get_attribute("href") for link in result.all()]
        if not any(f"/{answer}" in link.partition("?")[0] + "/" for link in links):
            missing.append((words, links[:3]))
    page.close()
    assert missing == []
