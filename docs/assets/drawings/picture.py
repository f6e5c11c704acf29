"""An SVG that is built of shapes, arrows, and texts with formulas."""

import math
import re
from collections.abc import Iterable
from html import escape

WIDTH = 420
STYLE = """\
text { font: 14px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #16242e }
.maths { font: italic 16px 'STIX Two Text', 'Times New Roman', 'DejaVu Serif', serif }
.card { fill: #f5f7f8 } .line { stroke: #37474f; fill: none } .head { fill: #37474f }
.data { fill: #e1e8ed; stroke: #607d8b } .net { fill: #d3ece8; stroke: #00796b }
.latent { fill: #ffefd0; stroke: #a86a00 } .loss { stroke: #b3261e; fill: none }
.trace { stroke: #00796b; fill: none }
.losshead, text.losstext { fill: #b3261e } .empty { fill: none; stroke: #607d8b }
.dot, .bar { fill: #a86a00 } .soft { fill: #ffefd0; stroke: #a86a00; fill-opacity: .55 }
@media (prefers-color-scheme: dark) {
text { fill: #e8eef2 } .card { fill: #1d252b } .line { stroke: #b0bec5 } .head { fill: #b0bec5 }
.data { fill: #33414a; stroke: #90a4ae } .net { fill: #12453f; stroke: #4db6ac }
.latent { fill: #533b10; stroke: #ffb74d } .loss { stroke: #ff8a80 }
.trace { stroke: #4db6ac }
.losshead, text.losstext { fill: #ff8a80 } .empty { stroke: #90a4ae }
.dot, .bar { fill: #ffb74d } .soft { fill: #533b10; stroke: #ffb74d } }
"""
Point = tuple[float, float]


class Picture:
    """An SVG under construction. Text between stars is set as a formula; `_` lowers a letter."""

    def __init__(self, height: int, title: str) -> None:
        self.height, self.title = height, title
        self.items: list[str] = []

    def add(self, item: str) -> None:
        """Append an element."""
        self.items.append(item)

    def text(self, x: float, y: float, words: str, anchor: str = "middle", kind: str = "") -> None:
        """Write a line of text with its baseline at y."""
        spans = re.split(r"\*(.*?)\*", words)
        inner = "".join(_maths(s) if i % 2 else escape(s) for i, s in enumerate(spans))
        look = f' class="{kind}text"' if kind else ""
        place = _attributes(x=x, y=y)
        self.add(f'<text {place} text-anchor="{anchor}"{look}>{inner}</text>')

    def polygon(self, points: Iterable[Point], kind: str) -> None:
        """Draw a closed shape."""
        self.add(f'<polygon points="{_path(points)}" class="{kind}" stroke-width="1.5"/>')

    def curve(self, points: Iterable[Point], kind: str = "line", dash: str = "") -> None:
        """Draw an open curve."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<polyline points="{_path(points)}" class="{kind}" stroke-width="1.8"{dashes}/>')

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        words: str = "",
        kind: str = "data",
    ) -> None:
        """Draw a rectangle with its center at (x, y)."""
        shape = _attributes(x=x - w / 2, y=y - h / 2, width=w, height=h, rx=4)
        self.add(f'<rect {shape} class="{kind}" stroke-width="1.5"/>')
        self._lines(x, y, words)

    def bar(self, left: float, top: float, w: float, h: float, kind: str) -> None:
        """Draw a plain rectangle by its upper left corner."""
        self.add(f'<rect {_attributes(x=left, y=top, width=w, height=h)} class="{kind}"/>')

    def circle(self, x: float, y: float, r: float, words: str = "", kind: str = "latent") -> None:
        """Draw a circle with its center at (x, y)."""
        self.add(f'<circle {_attributes(cx=x, cy=y, r=r)} class="{kind}" stroke-width="1.5"/>')
        self._lines(x, y, words)

    def network(self, x: float, y: float, w: float, words: str, left: float, right: float) -> None:
        """Draw a network whose height changes from left to right."""
        a, b = x - w / 2, x + w / 2
        shape = [
            (a, y - left / 2),
            (b, y - right / 2),
            (b, y + right / 2),
            (a, y + left / 2),
        ]
        self.polygon(shape, "net")
        self._lines(x, y, words)

    def arrow(self, *points: Point, kind: str = "line", both: bool = False) -> None:
        """Draw a line with a head at its end; arrows of kind "loss" are dashed."""
        points = tuple((float(x), float(y)) for x, y in points)
        head = "losshead" if kind == "loss" else "head"
        self.curve(points, kind, "5 4" if kind == "loss" else "")
        self._head(points[-2], points[-1], head)
        if both:
            self._head(points[1], points[0], head)

    def _head(self, start: Point, end: Point, kind: str) -> None:
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        sides = [
            (end[0] - 8 * math.cos(angle + s), end[1] - 8 * math.sin(angle + s))
            for s in (0.45, -0.45)
        ]
        self.add(f'<polygon points="{_path([end, *sides])}" class="{kind}"/>')

    def _lines(self, x: float, y: float, words: str) -> None:
        lines = words.split("\n") if words else []
        for i, line in enumerate(lines):
            self.text(x, y + 5 + 17 * (i - (len(lines) - 1) / 2), line)

    def svg(self) -> str:
        """Return the file's text."""
        size = f'width="{WIDTH}" height="{self.height}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" {size}>',
            f"<title>{escape(self.title)}</title>",
            f"<style>\n{STYLE}</style>",
            f'<rect {size} rx="8" class="card"/>',
            *self.items,
            "</svg>\n",
        ]
        return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _attributes(**values: float) -> str:
    return " ".join(f'{name}="{_number(value)}"' for name, value in values.items())


def _path(points: Iterable[Point]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _maths(words: str) -> str:
    lowered = r'<tspan dy="4" font-size="13">\1</tspan><tspan dy="-4">&#8203;</tspan>'
    inner = re.sub(r"_(\w)", lowered, escape(words))
    return f'<tspan class="maths">{inner}</tspan>'
