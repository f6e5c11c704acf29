"""Figures: sheets of images, scatter plots of points and latent codes, and curves of losses.

In a notebook, a sheet or a plot at the end of a cell is displayed.

Sheets need Pillow only. Plots, and sheets as SVG or PDF, need matplotlib.
"""

from genzoo.plots.charts import curves, scatter
from genzoo.plots.codes import latent_codes
from genzoo.plots.files import save
from genzoo.plots.samples import draw
from genzoo.plots.sheets import Sheet, pairs, sheet
from genzoo.plots.theme import style

__all__ = [
    "Sheet", "curves", "draw", "latent_codes", "pairs", "save", "scatter", "sheet", "style",
]  # fmt: skip
