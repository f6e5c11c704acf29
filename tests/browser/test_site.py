"""The built site, in Chromium: `make docs-test`. Needs playwright, and Chromium on the path."""

import functools
import html.parser
import http.server
import shutil
import threading
import urllib.parse
from pathlib import Path

import pytest
import torch

import genzoo

playwright = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
OTHER = ROOT / "build/zensical"
AXE = ROOT / "build/npm/axe-core-4.14.1/axe.min.js"
CHROMIUM = shutil.which("chromium")


def pages_of(site):
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("index.html"))


PAGES = pages_of(SITE)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(not PAGES, reason="needs the site that `make docs` builds"),
    pytest.mark.xdist_group("site"),
]
SEARCHES = {
    "mode collapse": "concepts/players/",
    "anomaly": "guides/evaluate/",
    "outlier": "guides/evaluate/",
    "onnx": "guides/deploy/",
    "export": "guides/deploy/",
    "pretrained": "weights/",
    "validation": "guides/recipes/",
    "early stopping": "concepts/glossary/",
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
    if (!node.querySelector(".katex") || node.querySelector(".katex-error"))
      problems.push(`not typeset: ${node.textContent}`);
  for (const node of shown(".md-content img"))
    if (!node.alt || !node.naturalWidth) problems.push(`no text, or no image: ${node.src}`);
  return problems;
}"""

CONTRAST = """() => {
  const channels = (color) => {  // red, green, blue in [0, 255], and opacity
    const [r, g, b, opacity = 1] = color.match(/[\\d.]+(e-\\d+)?/g).map(Number);
    return [...[r, g, b].map((c) => (color.startsWith("color(srgb") ? 255 * c : c)), opacity];
  };
  const over = ([r, g, b, opacity], below) =>
    [r, g, b].map((c, i) => opacity * c + (1 - opacity) * below[i]);
  const luminance = (color) => color.map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const layers = new Map([[null, { below: [255, 255, 255], opacity: 1 }]]);
  const layer = (node) => {  // the color behind a node's text, and the opacity of the text
    if (!layers.has(node)) {
      const parent = layer(node.parentElement);
      const style = getComputedStyle(node);
      const below = over(channels(style.backgroundColor), parent.below);
      layers.set(node, { below, opacity: parent.opacity * style.opacity });
    }
    return layers.get(node);
  };
  const problems = new Set();
  for (const node of document.body.querySelectorAll(":not(svg *, .katex-mathml *)")) {
    const text = [...node.childNodes].filter(({ nodeType }) => nodeType === 3)
      .map(({ data }) => data.trim()).join("");
    const visible = { opacityProperty: true, visibilityProperty: true };
    if (!text || !node.checkVisibility(visible)) continue;
    const { below, opacity } = layer(node);
    const style = getComputedStyle(node);
    const [r, g, b, alpha] = channels(style.color);
    const [low, high] = [over([r, g, b, alpha * opacity], below), below].map(luminance)
      .sort((x, y) => x - y);
    const contrast = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize) * (style.fontWeight >= 700 ? 24 / 18.66 : 1);
    if (contrast < (size >= 24 ? 3 : 4.5) - 0.005)
      problems.add(`contrast ${contrast.toFixed(2)}: <${node.localName} class="${node.className}">`
        + ` ${style.color} on ${below.map(Math.round)} ${text.slice(0, 40)}`);
  }
  return [...problems];
}"""
"""The contrast of text that WCAG 2 asks for at level AA."""

ACCESSIBLE = """async () => {
  const { violations } = await axe.run({ runOnly: ["wcag2a", "wcag2aa"] });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html.slice(0, 90)} ${node.failureSummary}`));
}"""

EMPTY = {"config": {"lang": ["en"], "separator": " ", "pipeline": [], "fields": {}}, "docs": []}
"""An index for the search, which each page builds: the real one takes most of a page's time."""

DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
DARK = "dark => document.body.setAttribute('data-md-color-scheme', dark ? 'slate' : 'default')"


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
def page():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page.set_default_timeout(120_000)  # the machine may be busy
        yield page
        browser.close()


@pytest.fixture
def said(page, address):
    """What the browser reports meanwhile: its console, errors, and requests to other addresses."""
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


@pytest.mark.parametrize("name", PAGES)
def test_page(page, said, address, name):
    """Nothing is cut off, every text is readable, and nobody else is asked for anything."""
    problems = []
    page.set_viewport_size({"width": 1280, "height": 900})
    page.route("**/search_index.json", lambda route: route.fulfill(json=EMPTY))
    page.goto(address + name)
    page.evaluate("document.fonts.ready")
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(DRAWN)  # a resize sets formulas again
        for dark in (False, True):
            page.evaluate(DARK, dark)
            found = page.evaluate(PROBLEMS) + page.evaluate(CONTRAST)
            problems += [f"{width}, {dark=}: {line}" for line in found]
    page.unroute("**/search_index.json")
    assert said + problems == []


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
    assert page.evaluate(ACCESSIBLE) == []


@pytest.mark.parametrize("words", SEARCHES)
def test_search_answers(page, address, words):
    page.set_viewport_size({"width": 1280, "height": 900})
    if page.url != address:
        page.goto(address)
    page.focus("input.md-search__input")
    page.keyboard.press("Control+A")
    page.keyboard.type(words)
    page.wait_for_function(
        "answer => [...document.querySelectorAll('.md-search-result__link')]"
        ".some(link => new URL(link.href).pathname.startsWith(`/${answer}`))",
        arg=SEARCHES[words],
        timeout=30_000,
    )


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


@pytest.mark.skipif(not OTHER.exists(), reason="needs the site that zensical builds")
def test_both_builders_make_the_same_pages():
    assert pages_of(OTHER) == PAGES


@pytest.fixture
def explorer(page, address):
    """The page "Try it", on a phone."""
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(address + "try-it/")
    page.evaluate("async () => { window.explorer = await import('/assets/explorer/explorer.js') }")
    return page


def start(explorer, part):
    """Press the button that loads a part of the explorer, and wait for it."""
    if not explorer.get_attribute(f"#{part}", "data-megabytes"):
        pytest.skip("the site was built without this part")
    explorer.click(f"#{part} button")
    explorer.wait_for_selector(f"#{part} .explorer-pair")


def shown_point(explorer, action):
    """The point that is shown once an action has changed it and all its pictures are drawn."""
    explorer.evaluate("window.before = String(explorer.point.z)")
    action()
    explorer.wait_for_function(
        """() => String(explorer.point.z) !== window.before
          && document.querySelector("#latent").ariaBusy === "false" """
    )
    return explorer.evaluate("explorer.point")


def pixels_of(explorer, canvas):
    """The gray levels of a canvas."""
    script = """canvas => [...canvas.getContext("2d")
      .getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 === 0)"""
    return torch.tensor(explorer.locator(canvas).evaluate(script))


def stroke(explorer, kind, *points):
    """Move the mouse or a finger along points."""
    if kind == "mouse":
        explorer.mouse.move(*points[0])
        explorer.mouse.down()
        for point in points[1:]:
            explorer.mouse.move(*point)
        explorer.mouse.up()
        return
    devtools = explorer.context.new_cdp_session(explorer)
    for kind, (x, y) in zip(("touchStart", *["touchMove"] * len(points)), points, strict=False):
        touches = [{"x": x, "y": y}]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_nothing_is_loaded_before_the_visitor_asks(explorer, address):
    names = "performance.getEntriesByType('resource').map(({name}) => name)"
    loaded = [name for name in explorer.evaluate(names) if "/explorer/" in name]
    assert loaded == [f"{address}assets/explorer/explorer.js"]


def test_pixels_of_the_explorer_are_those_of_python(explorer, said):
    start(explorer, "latent")
    plane = explorer.locator(".explorer-plane")

    def drag():
        plane.scroll_into_view_if_needed()
        box = plane.bounding_box()
        places = ((0.5, 0.5), (0.2, 0.7))
        stroke(
            explorer,
            "touch",
            *(
                (box["x"] + right * box["width"], box["y"] + down * box["height"])
                for right, down in places
            ),
        )

    def press():
        plane.focus()
        explorer.keyboard.press("ArrowRight")

    names = explorer.locator("#explorer-model option").evaluate_all("all => all.map(o => o.value)")
    assert "wae-mmd.digits" in names
    for name in names:
        actions = [
            lambda name=name: explorer.select_option("#explorer-model", name),
            drag,
            press,
            explorer.locator(".explorer-starts button").nth(3).click,
            lambda: explorer.fill("#explorer-way", "40"),
        ]
        model = genzoo.load(name)
        for action in actions[name == names[0] :]:  # the first is shown already
            point = shown_point(explorer, action)
            assert point["name"] == name
            image = model.decode(torch.tensor([point["z"]])).detach().flatten()
            torch.testing.assert_close(torch.tensor(point["image"]), image, atol=1e-3, rtol=0)
            shown = pixels_of(explorer, "#latent figure > canvas")
            assert (shown - 255 * image).abs().max() <= 0.5 + 0.255
    assert said == []


def test_path_is_that_of_interpolate(explorer):
    for name, spherical in (("wae-mmd.digits", True), ("wae-mmd.fashion-mnist", False)):
        if name not in genzoo.available("weights"):
            continue
        model = genzoo.load(name)
        ends = torch.randn(2, model.latent_dim, generator=torch.Generator().manual_seed(0))
        path = "([a, b, s]) => explorer.between(a, b, 0.3, s)"
        z = torch.tensor([explorer.evaluate(path, [*ends.tolist(), spherical])])
        images = genzoo.interpolate(model, ends[:1], ends[1:], steps=11)
        torch.testing.assert_close(model.decode(z).detach(), images[:, 3], atol=1e-4, rtol=0)


def test_completions_follow_the_probabilities_of_nade(explorer, said):
    start(explorer, "nade")
    model = genzoo.load("nade.digits")
    generator = torch.Generator().manual_seed(0)
    known = torch.randint(0, 2, (32,), generator=generator).tolist()
    uniforms = torch.rand(64, generator=generator).tolist()
    script = """async ([known, uniforms]) =>
      explorer.complete(await explorer.openWeights(), known, uniforms)"""
    result = explorer.evaluate(script, [known, uniforms])
    assert result["pixels"][:32] == known
    x = torch.tensor(result["pixels"], dtype=torch.float32).view(1, 1, 8, 8)
    expected = model.conditionals(x).probs.detach().flatten()
    probabilities = torch.tensor(result["probabilities"])
    torch.testing.assert_close(probabilities, expected, atol=1e-4, rtol=0)
    assert result["pixels"][32:] == (torch.tensor(uniforms) < probabilities)[32:].int().tolist()
    assert said == []


@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_half_a_digit_is_drawn_by_pointer_and_by_keys(explorer, kind):
    start(explorer, "nade")
    explorer.locator("#nade").get_by_role("button", name="Clear").click()
    cells = explorer.locator(".explorer-board button")
    explorer.locator(".explorer-board").scroll_into_view_if_needed()
    row = [cells.nth(d).bounding_box() for d in range(8, 16)]
    stroke(explorer, kind, *((box["x"] + 9, box["y"] + 9) for box in row))
    cells.first.focus()
    for key in ("ArrowRight", "ArrowRight", "Space"):
        explorer.keyboard.press(key)
    pressed = cells.evaluate_all("all => all.map(cell => cell.ariaPressed === 'true')")
    assert [d for d, is_pressed in enumerate(pressed) if is_pressed] == [2, *range(8, 16)]
    upper = pixels_of(explorer, ".explorer-results canvas >> nth=7")[:32]
    assert (upper == 255).tolist() == pressed
