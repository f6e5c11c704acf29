"""What the tests of the site share: its pages, and the checks of a page."""

import functools
import http.server
import json
import threading
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
OTHER_SITE = ROOT / "build/zensical"
"""The same site by another builder."""
WIDTHS = (1280, 400)
SEARCHES = {
    "mode collapse": "concepts/players/",
    "anomaly": "guides/evaluate/",
    "outlier": "guides/evaluate/",
    "onnx": "guides/deploy/",
    "export": "guides/deploy/",
    "pretrained": "weights/",
    "validation": "guides/recipes/",
    "early stopping": "guides/recipes/",
    "GPU": "guides/several-gpus/",
    "DataLoader": "guides/data/",
    "CelebA": "guides/data/",
    "FID": "api/metrics/",
}
"""What people type -> the page that answers."""
EMPTY_INDEX = {
    "config": {"lang": ["en"], "separator": " ", "pipeline": [], "fields": {}},
    "docs": [],
    "items": [],
}
"""An index for the search, which each page builds: the real one takes most of a page's time."""
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
DARK = "dark => document.body.setAttribute('data-md-color-scheme', dark ? 'slate' : 'default')"


def pages_of(site):
    """Return the pages of a built site, as paths below it."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("index.html"))


def script(name):
    """Return a script that runs in a page."""
    return Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8")


@contextmanager
def served(site):
    """Serve a built site, and yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def problems(page, url):
    """Return what is wrong with the looks of a page, in both widths, light and dark."""
    lines = []
    index = json.dumps(EMPTY_INDEX)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    page.route("**/search*.json", lambda route: route.fulfill(body=index))
    page.goto(url)
    page.evaluate("document.fonts.ready")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(DRAWN)  # a resize sets formulas again
        for dark in (False, True):
            page.evaluate(DARK, dark)
            seen = page.evaluate(script("layout")) + page.evaluate(script("contrast"))
            lines += [f"{width}, {dark=}: {line}" for line in seen]
    page.unroute("**/search*.json")
    return lines
