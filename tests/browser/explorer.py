"""Use the explorer of the page "Try it" as a visitor does."""

import pytest
import torch


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
