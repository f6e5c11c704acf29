"""Each page of the built site, in Chromium: `make docs-test`."""

import html.parser
import urllib.parse

import pytest

from tests.browser.explorer import start
from tests.browser.site import ROOT, SITE, pages_of, problems, script

PAGES = pages_of(SITE)
AXE = ROOT / "build/npm/axe-core-4.14.1/axe.min.js"


@pytest.mark.parametrize("name", PAGES)
def test_page(page, said, address, name):
    """Nothing is cut off, every text is readable, and nobody else is asked for anything."""
    assert problems(page, address + name) + said == []


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core, which npm downloads")
@pytest.mark.parametrize("name", ["", "try-it/", "models/vae/", "api/priors/"])
def test_accessible(page, address, name):
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(address + name)
    if name == "try-it/":
        for part in ("latent", "nade"):
            if page.get_attribute(f"#{part}", "data-megabytes"):
                start(page, part)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(script("axe")) == []


class Links(html.parser.HTMLParser):
    """The addresses and the anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.add(attributes.get("id"))
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]


@pytest.mark.skipif(not PAGES, reason="needs the site that `make docs` builds")
def test_links_and_anchors_are_whole():
    parsed = {page: Links(SITE / page) for page in PAGES}
    broken = []
    for page, content in parsed.items():
        for link in content.links:
            url = urllib.parse.urlsplit(urllib.parse.urljoin(f"http://site/{page}", link))
            if url.netloc != "site":
                continue
            path = urllib.parse.unquote(url.path).lstrip("/")
            target = path + "index.html" if path.endswith("/") or not path else path
            anchor = urllib.parse.unquote(url.fragment)
            anchors = parsed[target].anchors if target in parsed else {anchor}
            if not (SITE / target).is_file() or (anchor and anchor not in anchors):
                broken.append((page, link))
    assert broken == []
