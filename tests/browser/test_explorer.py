"""The explorer of the page "Try it", in Chromium, agrees with Python."""

import pytest
import torch

import genzoo
from tests.browser.explorer import pixels_of, shown_point, start, stroke


@pytest.fixture
def explorer(page, address):
    """The page "Try it", on a phone."""
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(address + "try-it/")
    page.evaluate("async () => { window.explorer = await import('/assets/explorer/explorer.js') }")
    return page


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
