"""Models receive arguments from their data: shapes of samples and conditions, and metadata."""

import tomllib
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo import Dataset, Model
from genzoo.errors import DataError, SettingError
from genzoo.registry.lookup import registries


class TextModel(Model):
    """A linear map from the condition to the sample, with the alphabet of its data."""

    inputs: ClassVar[tuple[str, ...]] = ("x", "y")
    given: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        alphabet: str = "none",
        shape: tuple[int, ...] = (2,),
        given_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.alphabet, self.shape, self.given_shape = alphabet, shape, given_shape
        self.map = nn.Linear((given_shape or shape)[0], shape[0])

    def loss(self, batch: Any) -> dict[str, Tensor]:
        return {"loss": (self.map(batch["x"]) - batch["y"]).square().mean()}

    @torch.no_grad()
    def sample(self, n: int, given: Any = None) -> Tensor:
        return self.map(given)

    def text(self, x: Tensor) -> list[str]:
        return [self.alphabet * len(row) for row in x]


@pytest.fixture
def dataset(monkeypatch):
    monkeypatch.setattr(registries["models"], "_registered", {})
    registries["models"].register("test-text", TextModel)
    return Dataset(
        {"x": torch.rand(8, 3), "y": torch.rand(8, 2)},
        metadata={"alphabet": "ab", "unasked": 1},
        name="test-text",
    )


def test_a_model_is_built_with_the_metadata_of_its_data(dataset, tmp_path):
    run = genzoo.fit("test-text", dataset, tmp_path / "run", steps=1, batch_size=4)
    assert (run.model.shape, run.model.given_shape, run.model.alphabet) == ((2,), (3,), "ab")
    again = genzoo.load(tmp_path / "run")
    assert repr(again) == repr(run.model)


def test_the_recipe_overrides_the_metadata(dataset):
    assert (
        genzoo.fit(
            {"name": "test-text", "alphabet": "z"}, dataset, steps=1, batch_size=4
        ).model.alphabet
        == "z"
    )


def test_a_model_with_labels_must_have_the_classes_of_the_data():
    x, y = torch.rand(8, 1, 3, 3).round(), torch.arange(8) % 2
    data = Dataset({"x": x, "y": y}, metadata={"class_names": ("cat", "dog")}, name="pets")
    table = {"name": "pixel-rnn", "layer": "conv", "hidden": 2, "depth": 1, "levels": 2}
    genzoo.fit({**table, "classes": 2}, data, steps=1, batch_size=4)
    genzoo.fit(table, data, steps=1, batch_size=4)
    for classes in (1, 3):
        with pytest.raises(SettingError, match=r"pets has 2 classes \(cat, dog\); set classes = 2"):
            genzoo.fit({**table, "classes": classes}, data, steps=1, batch_size=4)


def test_a_run_lists_the_files_that_were_skipped(tmp_path):
    data = Dataset({"x": torch.rand(8, 1, 3, 3).round()}, skipped=("a.png", "b/c.png"))
    table = {"name": "pixel-rnn", "layer": "conv", "hidden": 2, "depth": 1, "levels": 2}
    genzoo.fit(table, data, tmp_path, steps=1, batch_size=4)
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text(encoding="utf-8"))
    assert recipe["run"]["skipped"] == ["a.png", "b/c.png"]


def test_an_instance_must_match_the_shape_of_the_samples(dataset):
    genzoo.fit(TextModel("ab", (2,), (3,)), dataset, steps=1, batch_size=4)
    with pytest.raises(SettingError, match=r"TextModel has shape \(3,\), but the data have \(2,\)"):
        genzoo.fit(TextModel("ab", (3,), (3,)), dataset, steps=1, batch_size=4)


def test_samples_of_a_text_model_are_written_as_text(dataset, tmp_path):
    genzoo.fit("test-text", dataset, tmp_path / "run", steps=2, batch_size=4, sample_every=1)
    texts = sorted((tmp_path / "run" / "samples").iterdir())
    assert [path.name for path in texts] == [f"step-00000{step}.txt" for step in (0, 1, 2)]
    assert texts[0].read_text() == 8 * "abab\n"


def test_sample_of_an_unconditional_model_may_omit_given(tmp_path):
    """The smallest model: a constructor, a loss, and sample(n)."""

    class Small(Model):
        def __init__(self, shape: tuple[int, ...] = (1, 8, 8)) -> None:
            super().__init__()
            self.shape, self.mean = shape, nn.Parameter(torch.zeros(shape))

        def loss(self, batch: Tensor) -> dict[str, Tensor]:
            return {"loss": (batch - self.mean).square().mean()}

        def sample(self, n):
            return self.mean.detach().sigmoid().expand(n, *self.shape)

    registries["models"].register("test-small", Small)
    try:
        run = genzoo.fit(
            "test-small", torch.rand(20, 1, 8, 8), tmp_path / "run", steps=1, batch_size=4
        )
    finally:
        registries["models"].unregister("test-small")
    assert (tmp_path / "run" / "samples" / "step-000001.png").exists()
    data = (torch.rand(8, 1, 8, 8), torch.rand(40, 1, 8, 8))
    assert genzoo.evaluate(run.model, data, "frechet").n == 40


def test_the_default_batch_is_no_larger_than_the_data():
    x = torch.rand(20, 2)
    with pytest.warns(UserWarning, match="train.batch_size = 20, because data has only 20"):
        genzoo.fit("vae", x, steps=1, progress=False)
    with pytest.warns(UserWarning, match="batch_size = 18"):
        genzoo.fit("vae", x, steps=1, validation=0.1, progress=False)
    with pytest.raises(DataError, match="too few for one batch"):
        genzoo.fit("vae", x, steps=1, batch_size=21, progress=False)
