import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils import data as loading

import genzoo
from genzoo.data.arrays import as_dataset
from genzoo.data.columns import open_column
from genzoo.data.fingerprint import fingerprint
from genzoo.data.stream import Stream
from genzoo.errors import DataError

CPU = torch.device("cpu")
PIXELS = np.random.RandomState(0).randint(0, 256, (20, 8, 8, 3), dtype=np.uint8)


class Pairs(loading.Dataset):
    """Images and labels, as torchvision's datasets return them."""

    def __init__(self, convert=Image.fromarray, rows=20):
        self.convert, self.rows, self.reads = convert, rows, 0

    def __len__(self):
        return self.rows

    def __getitem__(self, i):
        self.reads += 1
        return self.convert(PIXELS[i % 20]), i % 4


def to_tensor(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1) / np.float32(255))


def read(data, name="x", split="train"):
    return open_column(data, split, name)[:].numpy()


def test_a_list_of_images_is_a_column():
    data = as_dataset([Image.fromarray(pixels) for pixels in PIXELS])
    assert data.shape == (3, 8, 8)
    assert np.array_equal(read(data), PIXELS.transpose(0, 3, 1, 2))
    gray = as_dataset([Image.fromarray(pixels[..., 0]) for pixels in PIXELS])
    assert np.array_equal(read(gray)[:, 0], PIXELS[..., 0])


def test_images_come_with_labels_and_splits():
    images = [Image.fromarray(pixels) for pixels in PIXELS]
    labeled = as_dataset((images, np.arange(20)))
    assert read(labeled, "y").tolist() == list(range(20))
    for data in (as_dataset((images[:15], images[15:])), as_dataset((Pairs(rows=15), Pairs()))):
        assert (data.rows("train"), len(data.test["x"])) in ((15, 5), (15, 20))
    mapping = as_dataset({"x": images, "y": np.arange(20)})
    assert np.array_equal(read(mapping), read(labeled))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_torch_dataset_is_read_item_by_item(workers):
    source = Pairs()
    data = as_dataset(source)
    assert (data.shape, data.rows()) == ((3, 8, 8), 20)
    stream = Stream(data, ("x", "y"), 5, seed=0, device=CPU, workers=workers)
    before = source.reads
    batches = [*itertools.islice(stream.batches(2), 4)]
    if workers == 0:
        assert source.reads == before + 20  # both columns come from one read of an item
    for batch in batches:
        images = PIXELS.transpose(0, 3, 1, 2) / np.float32(255)
        rows = [int((images == x).all((1, 2, 3)).argmax()) for x in batch["x"].numpy()]
        assert [row % 4 for row in rows] == batch["y"].tolist()


def test_tensors_and_mappings_are_items():
    assert as_dataset(Pairs(lambda pixels: pixels[..., 0])).shape == (1, 8, 8)
    data = as_dataset(Pairs(to_tensor))
    assert np.allclose(read(data), PIXELS.transpose(0, 3, 1, 2) / 255)
    assert data.train["x"].dtype == np.float32

    class Mappings(Pairs):
        def __getitem__(self, i):
            return {"x": PIXELS[i].transpose(2, 0, 1), "extra": torch.tensor(float(i))}

    data = as_dataset(Mappings())
    assert read(data, "extra").tolist() == list(range(20))
    assert np.array_equal(read(data), PIXELS.transpose(0, 3, 1, 2))


def test_labels_of_items_are_whole_numbers():
    class Labeled(Pairs):
        def __init__(self, label):
            super().__init__()
            self.label = label

        def __getitem__(self, i):
            return PIXELS[i].transpose(2, 0, 1), self.label(i)

    for label in (np.uint8, float, lambda i: torch.tensor([i]), lambda i: np.array([i], np.uint8)):
        y = read(as_dataset(Labeled(label)), "y")
        assert (y.dtype, y.tolist()) == (np.int64, [*range(20)])
    assert read(as_dataset(Labeled(lambda i: i > 3)), "y").sum() == 16
    for label, message in ((str, "Number the classes"), (lambda i: i + 0.5, r"holds 0\.5; labels")):
        with pytest.raises(DataError, match=message):
            as_dataset(Labeled(label))


def test_tuples_of_one_are_examples():
    x = torch.rand(6, 3)
    assert np.array_equal(read(as_dataset(loading.TensorDataset(x))), x.numpy())


def test_images_of_many_modes_have_8_bits():
    deep = np.array([[0, 257 * 100], [65_535, 257 * 7]])
    levels = [[0, 100], [255, 7]]
    for image in (
        Image.fromarray(deep.astype(np.uint16)),
        Image.fromarray(deep.astype(np.int32)),
        Image.fromarray(np.array(levels, np.float32) / 255),
    ):
        assert read(as_dataset([image])).tolist() == [[levels]]
    clear = Image.new("LA", (2, 2), (0, 0))
    assert (read(as_dataset([clear])) == 255).all()
    assert read(as_dataset([clear])).shape == (1, 1, 2, 2)
    turned = Image.fromarray(PIXELS[0, :4])
    turned.getexif()[0x0112] = 6
    expected = np.rot90(PIXELS[0, :4], -1).transpose(2, 0, 1)
    assert np.array_equal(read(as_dataset([turned]))[0], expected)
    with pytest.raises(DataError, match=r"values from 0 to 255, .* floats in \[0, 1\]"):
        as_dataset([Image.fromarray(np.array(levels, np.float32))])


def test_few_items_of_many_are_read_for_the_fingerprint():
    source = Pairs(rows=100_000)
    prints = fingerprint(as_dataset(source))
    assert source.reads < 3000
    assert fingerprint(as_dataset(Pairs(rows=100_000))) == prints


def test_a_model_is_trained_on_a_torch_dataset(tmp_path):
    part = {"name": "mlp", "hidden": (4,)}
    model = {"name": "vae", "encoder": part, "decoder": part}
    settings = {"steps": 2, "batch_size": 5, "progress": False}
    run = genzoo.fit(model, Pairs(), **settings)
    array = genzoo.fit(model, as_dataset({"x": read(as_dataset(Pairs()))}), **settings)
    assert run.model.shape == array.model.shape == (3, 8, 8)


@pytest.mark.parametrize("validation", [0, 0.2])
def test_labels_of_items_are_checked_when_they_are_read(validation):
    part = {"name": "mlp", "hidden": (2,)}
    settings = {"progress": False, "validation": validation}
    source = Pairs(rows=1000)
    model = {"name": "vae", "encoder": part, "decoder": part, "classes": 4}
    run = genzoo.fit(model, source, steps=2, batch_size=5, **settings)
    assert run.model.classes == 4
    assert validation or source.reads < 100  # the dataset is not read as a whole

    class Wrong(Pairs):
        def __getitem__(self, i):
            return self.convert(PIXELS[i]), 7 if i == 13 else i % 4

    with pytest.raises(DataError, match="column 'y': row 13 holds 7, but classes = 4 allows 0 to"):
        genzoo.fit(model, Wrong(), epochs=1, batch_size=2, **settings)


def test_random_items_are_named():
    def noisy(pixels):
        return torch.rand(3, 8, 8)

    with pytest.warns(UserWarning, match="item 0 differs each time it is read"):
        as_dataset(Pairs(noisy))


def test_items_of_other_kinds_are_refused():
    class Other(Pairs):
        def __init__(self, item):
            super().__init__()
            self.item = item

        def __getitem__(self, i):
            return self.item(i)

    for item, message in (
        (lambda i: (1, 2, 3), "item 0 is a tuple of 3"),
        (lambda i: {"x": PIXELS[0], "caption": "a cat"}, "\"a cat\" as 'caption'"),
        (lambda i: Image.new("CMYK", (8, 8)), "mode 'CMYK'"),
        (lambda i: np.zeros((8, 8, 3), np.uint8), "channels last"),
        (lambda i: np.zeros((1, 8, 8), bool), "item 0 holds"),
    ):
        with pytest.raises(DataError, match=message):
            as_dataset(Other(item))
    data = as_dataset(Other(lambda i: Image.new("L", (8, 8 + i // 7))))
    with pytest.raises(DataError, match=r"item 7 holds uint8 \(1, 9, 8\) .* one type and shape"):
        read(data)
    with pytest.raises(DataError, match="no items"):
        as_dataset(Pairs(rows=0))


def test_sources_that_can_only_be_iterated_are_refused():
    class Endless(loading.IterableDataset):
        def __iter__(self):
            return iter(PIXELS)

    for source, message in (
        (Endless(), r"Endless, which can only be iterated.*list\(items\).*tar shards"),
        ((x for x in PIXELS), "generator, which can only be iterated"),
        (loading.DataLoader(Pairs()), r"loader\.dataset"),
        ((Endless(), Endless()), "only be iterated"),
    ):
        with pytest.raises(DataError, match=message):
            as_dataset(source)
