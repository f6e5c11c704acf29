"""The style of all plots: colors, fonts, and sizes that stay readable in print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from genzoo.errors import GenzooError

__all__ = ["COLORS", "WIDTH", "can_plot", "new_figure", "style"]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""The palette of Okabe and Ito, without its yellow, which is too light for a white page."""
WIDTH = 6.4
"""The width of a page of text in inches, and of a wide figure."""
_SETTINGS: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "contour.negative_linestyle": "solid",
    "pdf.fonttype": 42,  # publishers refuse the default, Type 3
    "svg.hashsalt": "genzoo",  # equal figures give equal files
}


def can_plot() -> bool:
    """Return True if matplotlib is installed."""
    return find_spec("matplotlib") is not None


@contextmanager
def style() -> Iterator[None]:
    """Use the style of genzoo's plots within the context, for plots of your own.

    The colors are those of Okabe and Ito, which people with color blindness can tell apart. Texts
    have 8 or 9 points in a figure of at most 6.4 inches. A file `matplotlibrc` in the working
    folder is ignored, because it might call other programs.

    Raises:
        GenzooError: matplotlib is not installed.

    Example:
        >>> from matplotlib.figure import Figure
        >>> with style():
        ...     line = Figure().add_subplot().plot([1, 2, 4])
        >>> line[0].get_color()
        '#0072b2'
    """
    if not can_plot():
        raise GenzooError("plots need matplotlib; install it with: pip install 'genzoo[plots]'.")
    import matplotlib.style
    from matplotlib.rcsetup import cycler

    settings = {**_SETTINGS, "axes.prop_cycle": cycler(color=COLORS)}
    with matplotlib.style.context(["default", settings], after_reset=True):
        yield


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches."""
    # Figure works without pyplot, which has global state and needs a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
