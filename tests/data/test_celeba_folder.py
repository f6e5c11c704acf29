"""CelebA from a small folder in its layout."""

import numpy as np
import pytest
from PIL import Image

from genzoo.data.celeba_folder import celeba
from genzoo.errors import DataError, MissingDataError, SettingError

SPLITS = (0, 0, 1, 2, 0)
SMILES = (1, -1, 1, -1, -1)


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """Write five images in the authors' folders, with gray values 10, 20, ..."""
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    root = tmp_path / "faces"
    for place in ("Img/img_align_celeba", "Eval", "Anno"):
        (root / place).mkdir(parents=True)
    for n in range(5):
        image = Image.new("RGB", (178, 218), (10 * n + 10,) * 3)
        image.save(root / "Img/img_align_celeba" / f"{n}.jpg")
    rows = "".join(f"{n}.jpg {split}\n" for n, split in enumerate(SPLITS))
    (root / "Eval/list_eval_partition.txt").write_text(rows)
    rows = "".join(f"{n}.jpg  1 {smile:2}\n" for n, smile in enumerate(SMILES))
    (root / "Anno/list_attr_celeba.txt").write_text(f"5\nYoung Smiling\n{rows}")
    return root


def test_images_are_in_the_splits_of_the_authors(faces):
    data = celeba(str(faces), size=(12, 8))
    assert data.shape == (3, 12, 8)
    grays = {name: columns["x"][:, 1, 5, 5].tolist() for name, columns in data.splits.items()}
    assert grays == {
        "train": pytest.approx([10, 20, 50], abs=2),
        "validation": pytest.approx([30], abs=2),
        "test": pytest.approx([40], abs=2),
    }
    assert "y" not in data.train


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_an_attribute_gives_labels(faces, form):
    if form == "csv":
        for name, head in (
            ("Anno/list_attr_celeba", "image_id,Young,Smiling\n"),
            ("Eval/list_eval_partition", "image_id,partition\n"),
        ):
            text = faces / f"{name}.txt"
            lines = text.read_text().splitlines()[2 if "attr" in name else 0 :]
            rows = "".join(",".join(line.split()) + "\n" for line in lines)
            (faces / f"{text.stem}.csv").write_text(head + rows)
            text.unlink()
    data = celeba(str(faces), size=8, labels="Smiling")
    assert data.class_names == ("not Smiling", "Smiling")
    assert data.train["y"].tolist() == [1, 0, 0]
    assert (data.validation["y"].tolist(), data.test["y"].tolist()) == ([1], [0])
    assert data.train["y"].dtype == np.int64
    assert celeba(str(faces), size=8, labels="Young").train["y"].tolist() == [1, 1, 1]


def test_missing_and_damaged_parts_are_named(faces):
    with pytest.raises(SettingError, match=r"there is no such attribute. Did you mean .Smiling"):
        celeba(str(faces), labels="Smile")
    (faces / "Img/img_align_celeba/3.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 5 images, such as 3.jpg"):
        celeba(str(faces))
    (faces / "Eval/list_eval_partition.txt").write_text("0.jpg 0\n1.jpg 5\n")
    with pytest.raises(DataError, match=r"has the row '1.jpg 5'"):
        celeba(str(faces))
    (faces / "Eval/list_eval_partition.txt").unlink()
    with pytest.raises(MissingDataError, match=r"has no list_eval_partition.txt"):
        celeba(str(faces))
    with pytest.raises(MissingDataError, match=r"cannot be downloaded without an account"):
        celeba()
