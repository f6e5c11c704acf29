"""Model cards: their front matter, and texts that try to change them."""

import json

import pytest

import genzoo
from genzoo.runs.card import write_card
from genzoo.runs.folder import RunFolder

yaml = pytest.importorskip("yaml", reason="the docs and huggingface_hub need it")

HOSTILE = 'x"\n---\nlicense: stolen\n# Owned `</code><script>alert(1)</script>\u202e'


@pytest.fixture
def folder(tmp_path):
    """A run folder whose recipe and report hold hostile texts."""
    model = genzoo.build("independent", shape=(4,))
    run = RunFolder(genzoo.save(model, tmp_path / "run"))
    text = run.recipe_file.read_text()
    hostile = json.dumps(HOSTILE)
    text += f"\n[data]\nname = {hostile}\n[train]\nseed = 3\nnote = {hostile}\n"
    text = text.replace("needs = []", f"needs = [{hostile}]")
    text = text.replace("[run]", f"[run]\ndata = {{train = {{x = {hostile}}}}}\n", 1)
    run.recipe_file.write_text(text)
    row = {
        "metric": "frechet",
        "quantity": HOSTILE + "|",
        "value": 1.5,
        "n": 10,
        "network": HOSTILE,
    }
    run.report.mkdir()
    odd = {"metric": "frechet", "quantity": 3, "value": float("nan"), "n": [HOSTILE]}
    rows = [row, odd, odd | {"value": 10**400}, odd | {"value": 2}]
    (run.report / "evaluation.json").write_text(json.dumps({"measurements": rows}))
    run.samples.mkdir()
    (run.samples / "step-1.png) <script>.png").write_bytes(b"")
    return run


def blocks(card):
    """Return the front matter and the body, as a reader of front matter splits them."""
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


def test_a_hostile_text_cannot_change_the_card(folder):
    write_card(folder, folder.model(), name=HOSTILE, license="mit", source=HOSTILE)
    front, body = blocks((folder.path / "card.md").read_text(encoding="utf-8"))
    assert front["license"] == "mit"
    assert front["library_name"] == "genzoo"
    (result,) = front["model-index"][0]["results"]
    assert [metric["value"] for metric in result["metrics"]] == [1.5, 2.0]
    assert result["task"] == {"type": "other"}
    assert "\u202e" not in body
    lines = body.splitlines()
    fence = next(line for line in lines if line.endswith("toml"))[:-4]
    start = lines.index(f"{fence}toml")
    outside = [*lines[:start], *lines[lines.index(fence, start + 1) + 1 :]]
    headings = [line for line in outside if line.startswith("#")]
    assert headings[1:] == [
        f"## {name}"
        for name in (
            "Load the model", "Data and license", "Measurements", "Training", "Reproduction",
            "Recipe", "Intended use and limits",
        )
    ]  # fmt: skip
    rendered = pytest.importorskip("markdown").markdown(body, extensions=["fenced_code", "tables"])
    assert "<script>" not in rendered
    assert rendered.count("<h1>") == 1


def test_the_card_of_a_plain_run(tmp_path):
    model = genzoo.build("independent", shape=(4,))
    run = RunFolder(genzoo.save(model, tmp_path / "my run"))
    write_card(run, model)
    front, body = blocks((run.path / "card.md").read_text(encoding="utf-8"))
    assert front == {
        "library_name": "genzoo",
        "tags": ["genzoo", "generative-model", "independent"],
    }
    assert 'genzoo.load("my run")' in body
    assert "Not measured." in body
    assert "has 4 parameters" in body
    assert "does not name its training data" in body
    assert "not reproducible" in body
    assert str(tmp_path) not in body


def test_a_damaged_report_counts_as_none(folder):
    for content in ("{", "[]", '{"measurements": [1]}', '{"measurements": {}}'):
        (folder.report / "evaluation.json").write_text(content)
        write_card(folder, folder.model())
        assert "Not measured." in (folder.path / "card.md").read_text(encoding="utf-8")
