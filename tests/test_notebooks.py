"""The display of runs, evaluations, comparisons, datasets, and samples in a notebook."""

import base64
import io
import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
import torch
from PIL import Image

import genzoo
from genzoo import Dataset
from genzoo.runs.result import Best

ROOT = Path(genzoo.__file__).parent.parent
CELLS = {
    "run": """import genzoo, torch
from genzoo.plots import sheet
torch.set_num_threads(1)
run = genzoo.fit("vae", "digits", out="run", steps=2, batch_size=8, progress=False)
run""",
    "data": "run.dataset",
    "evaluation": """genzoo.evaluate(run, metrics=["texture"], n=32)""",
    "comparison": """genzoo.compare(["run", "run"], metrics=["reconstruction"], n=16)""",
    "samples": "sheet(run.model.sample(16))",
    "model": "run.model",
}
SOURCE = re.compile(r'src="data:image/png;base64,([^"]+)"')


def image(text):
    """Return the picture of an HTML output."""
    (content,) = SOURCE.findall(text)
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.slow
def test_a_notebook_shows_tables_and_pictures(tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    shown = {
        name: cell.outputs[-1]["data"] for name, cell in zip(CELLS, notebook.cells, strict=True)
    }
    assert "<figure>" in shown["run"]["text/html"]
    assert image(shown["run"]["text/html"]).width > 400
    assert shown["run"]["text/plain"].startswith("<Run of VAE: ")
    assert shown["data"]["text/plain"].startswith("Dataset 'digits'")
    assert "<table>" in shown["evaluation"]["text/html"]
    assert "reconstruction" in shown["comparison"]["text/html"]
    png = base64.b64decode(shown["samples"]["image/png"])
    assert Image.open(io.BytesIO(png)).width > 400
    assert "VAE(" in shown["model"]["text/plain"]


def fitted(model="gan", **data):
    dataset = Dataset({"x": torch.rand(20, 1, 4, 4)}, name="<b>noise</b>")
    return genzoo.fit(model, data.get("data", dataset), steps=1, batch_size=4, progress=False)


def test_the_text_of_a_run_names_its_parameters_steps_and_folder(tmp_path):
    run = fitted()
    count = sum(p.numel() for p in run.model.parameters())
    assert repr(run) == f"<Run of GAN: {count:,} parameters, 1 steps, data '<b>noise</b>'>"
    run.folder, run.best = tmp_path, Best(3, "validation/loss", 0.25)
    assert f"folder {str(tmp_path)!r}" in repr(run)
    assert "best validation/loss 0.25 at step 3" in repr(run)
    assert "\n" not in repr(run)


def test_the_html_of_a_run_is_escaped_and_shows_64_samples():
    run = fitted()
    state = torch.get_rng_state()
    text = run._repr_html_()
    assert "<b>noise" not in text
    assert "&lt;b&gt;noise" in text
    assert re.search(r"<th>step</th>.*<td>1</td>", text)
    factor = 640 // (8 * 4)
    assert image(text).size == (8 * (4 * factor + 2), 8 * (4 * factor + 2))
    assert text == run._repr_html_()
    assert torch.equal(torch.get_rng_state(), state)
    run.history.clear()
    assert "<table>" not in run._repr_html_()


def test_a_run_of_vectors_has_no_picture():
    text = fitted("rnade", data=torch.randn(20, 3))._repr_html_()
    assert "<figure>" not in text
    assert "RNADE" in text


def test_the_text_of_a_dataset_has_at_most_10_lines():
    columns = {f"column {i}\n": torch.rand(5, 2) for i in range(40)}
    data = Dataset(
        columns,
        columns,
        validation=columns,
        groups=tuple((name,) for name in columns),
        standardize=True,
        metadata={"class_names": [f"class {i}\n" for i in range(500)]},
        name="a\nb" * 1000,
    )
    lines = repr(data).splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) < 600
    assert "and 32 more" in lines[1]
    assert lines[-1] == "  settings: standardize = True"


def test_the_text_of_a_dataset_lists_its_columns():
    data = Dataset(
        {"x": torch.zeros(6, 1, 2, 2, dtype=torch.uint8), "y": torch.zeros(6).long()},
        {"x": torch.zeros(3, 1, 2, 2, dtype=torch.uint8), "y": torch.zeros(3).long()},
        levels=17,
    )
    assert repr(data).splitlines() == [
        "Dataset 'data'",
        "  train: x uint8 (6, 1, 2, 2), y int64 (6,)",
        "  test: x uint8 (3, 1, 2, 2), y int64 (3,)",
        "  settings: levels = 17",
    ]
