"""`make weights`: the script trains recipes, continues and reuses runs, and stores them."""

from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.errors import GenzooError
from genzoo.runs.recipe import read, shipped
from recipes import weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, which works in an empty folder."""
    for name in ("ROOT", "RUNS", "DIGITS", "OTHERS"):
        monkeypatch.setattr(weights, name, tmp_path / getattr(weights, name).relative_to(ROOT))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "weights.md").write_text(
        "# Page\n\n<!-- weights -->\n\n\n\n<!-- end -->\n\nEnd.\n"
    )
    threads = torch.get_num_threads()
    yield weights
    torch.set_num_threads(threads)


def test_every_entry_has_a_recipe_that_comes_with_genzoo(script):
    for name, (recipe, *overrides) in script.ENTRIES.items():
        table = read(shipped()[recipe], overrides)
        data = table["data"].get("of", table["data"]["name"])
        assert name.endswith((".digits", ".fashion-mnist", ".emoji")), name
        assert name.startswith(table["model"]["name"]) or table["model"].get("classes"), name
        assert data if isinstance(data, str) else data["name"]


@pytest.mark.slow
def test_entries_are_made_once(script, monkeypatch, tmp_path, capsys):
    small = ["nade-digits", "model.hidden=4", "train.steps=3"]
    monkeypatch.setattr(script, "ENTRIES", {"nade.digits": small, "other.digits": small})
    monkeypatch.setattr(script, "METRICS", ("likelihood",))
    leaderboards = []
    monkeypatch.setattr(script, "write_leaderboard", lambda: leaderboards.append("written"))
    script.main(["nade.digits"])
    folder = script.DIGITS / "nade.digits"
    first = genzoo.weights.Entry(folder)
    facts = genzoo.runs.RunFolder(folder).facts()
    assert facts["threads"] == 1
    page = (tmp_path / "docs" / "weights.md").read_text()
    assert page.startswith("# Page\n\n<!-- weights -->\n\n| name |")
    assert page.endswith("<!-- end -->\n\nEnd.\n")
    assert page.count("| `nade.digits` |") == 1
    assert leaderboards == ["written"]
    started = (script.RUNS / "nade.digits" / "recipe.toml").read_bytes()
    digest = first.sha256
    script.main([])
    assert (script.RUNS / "nade.digits" / "recipe.toml").read_bytes() == started
    assert genzoo.weights.Entry(folder).sha256 == digest
    # the same recipe gives the same weights in another run
    assert genzoo.weights.Entry(script.DIGITS / "other.digits").sha256 == digest
    assert f"sha256 {digest}" in capsys.readouterr().out


def test_an_unknown_entry_is_named(script):
    with pytest.raises(SystemExit, match=r"no entry is named 'vea\.digits'; one of vae\.digits"):
        script.main(["vea.digits"])
    with pytest.raises(GenzooError, match="nowhere"):
        script.main(["vae.digits=nowhere"])
