"""The contract, checked for everything that genzoo registers and for two toy models."""

import copy
import struct
import tarfile

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat
from torch import Tensor, nn

import genzoo
from genzoo import Model, Player
from genzoo.contract import Configurable, Prior
from genzoo.data import mnist_family
from genzoo.errors import DataError, SettingError
from genzoo.registry.kinds import KINDS
from genzoo.registry.lookup import registry
from genzoo.testing import checks, model_checks
from tests.toys import Bigrams, Translator

OWN = [
    (kind, name)
    for kind in KINDS
    for name, (owner, *_) in registry(kind).registrations().items()
    if owner.distribution == "genzoo"
]
"""Whatever plugins this machine has, and other test files register."""
SMALL = {
    "eonade": {"hidden": (12, 12), "orderings": 2},
    "nade": {"hidden": 12},
    "rnade": {"hidden": 12, "components": 3},
    "pixel-rnn": {"hidden": 6, "depth": 2, "head": 8},
    "self-trained": {"steps": 3},
    "sinkhorn": {"epsilon": 3.0},
    "ais": {"limit": 4, "steps": 3, "chains": 2},
}
"""Settings of what is large or slow by default."""
LABELED = {
    "vae": (1, 8, 8),
    "wae-mmd": (5,),
    "wae-gan": (5,),
    "gan": (1, 8, 8),
    "wgan-gp": (5,),
    "nade": (1, 2, 3),
    "eonade": (4,),
    "rnade": (4,),
}
"""The models that are also tested with labels -> the shape of their examples."""
NETWORKS = {
    "wae-gan": {"critic": {"hidden": (8,)}, "prior": {"name": "mog", "learn": True}},
    "gan": {"generator": {"hidden": (8,)}, "critic": {"hidden": (8,)}},
    "wgan-gp": {"generator": {"hidden": (8,)}, "critic": {"hidden": (8,)}},
}
"""Smaller networks for them."""
NEED_A_FILE = {"inception", "dinov2"}
"""Feature networks whose weights come from a file; tests/metrics/networks checks them."""
NEED_A_PACKAGE = {"wandb", "trackio", "mlflow"}
"""Loggers whose packages are not installed; tests/train/loggers checks them."""


COMPILED_WITH_LABELS = {"vae", "wgan-gp", "nade"}
"""The models of LABELED that are compiled: one for each way in which labels enter."""


def without_repetition(name, suite):
    """Compile only for the first shape: compilation takes long, and shapes change little of it."""
    compilations = [check for check in suite if check.name == "compile"]
    if name.startswith("labeled-") and name.removeprefix("labeled-") not in COMPILED_WITH_LABELS:
        compilations.insert(0, None)
    return [check for check in suite if check not in compilations[1:]]


CHECKS = {
    f"{name}-{check}": check
    for name, suite in {
        "translator": model_checks(Translator),
        "bigrams": model_checks(Bigrams, shapes=[(5, 4)]),
        "labeled": model_checks(
            "pixel-rnn",
            shapes=[(3, 4, 5)],
            classes=3,
            levels=4,
            hidden=5,
            depth=1,
            layer="row-lstm",
        ),
        **{
            f"labeled-{name}": model_checks(
                name, shapes=[shape], classes=3, **SMALL.get(name, NETWORKS.get(name, {}))
            )
            for name, shape in LABELED.items()
        },
        "mmd-sampled": checks("mmd", estimator="sampled"),
        "mog-learned": checks("mog", learn=True, components=3),
        "kl-monte-carlo": checks("kl", estimator="monte-carlo"),
        "conv-norms": checks("conv", "critics", norm="layer"),
        **{
            f"{kind}-{name}": checks(name, kind, **SMALL.get(name, {}))
            for kind, name in OWN
            if kind != "datasets" and name not in NEED_A_FILE | NEED_A_PACKAGE
        },
    }.items()
    for check in without_repetition(name, suite)
}


def _mark(name):
    """Mark the checks with color images as slow."""
    return pytest.param(name, marks=pytest.mark.slow) if name.endswith("-3x9x12") else name


@pytest.mark.parametrize("name", [_mark(name) for name in CHECKS])
def test_conforms(name):
    CHECKS[name]()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write image files in every format that datasets read, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("files")
    images = np.random.default_rng(0).integers(0, 256, (24, 28, 28), dtype=np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    for prefix, (train, test) in {
        "": ("train", "t10k"),
        "emnist-letters-": ("train", "test"),
    }.items():
        for split in (train, test):
            for stem, axes, values in (
                ("images-idx3", (24, 28, 28), images),
                ("labels-idx1", (24,), np.arange(24) % 10 + (prefix != "")),
            ):
                header = bytes([0, 0, 8, len(axes)]) + b"".join(
                    struct.pack(">I", axis) for axis in axes
                )
                (folder / f"{prefix}{split}-{stem}-ubyte").write_bytes(
                    header + values.astype(np.uint8).tobytes()
                )
    records = np.zeros((24, 2 + 3 * 32 * 32), np.uint8)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / f"{name}.bin").write_bytes(records[:, 1:].tobytes())
    for name in ("train", "test"):
        (folder / f"{name}.bin").write_bytes(records.tobytes())
        mat = {"X": np.zeros((32, 32, 3, 24), np.uint8), "y": np.full((24, 1), 10, np.uint8)}
        savemat(folder / f"{name}_32x32.mat", mat)
    for name in ("fine", "coarse"):
        (folder / f"{name}_label_names.txt").write_text("apple\n")
    (folder / "img_align_celeba").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8)).save(folder / "img_align_celeba" / f"{number}.jpg")
    (folder / "list_eval_partition.txt").write_text("0.jpg 0\n1.jpg 1\n2.jpg 2\n")
    with tarfile.open(folder / "images.tar", "w") as shard:
        for number in range(24):
            shard.add(folder / f"{number}.png", f"{number}.png")
    table = np.random.default_rng(0).random((24, 3), np.float32)
    np.save(folder / "table.npy", table)
    parquet.write_table(pyarrow.table([*table.T], ["a", "b", "c"]), folder / "table.parquet")
    return folder


@pytest.mark.parametrize("name", [name for kind, name in OWN if kind == "datasets"])
def test_a_dataset_conforms(name, files, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(files / "cache"))
    settings = {
        "digits": {},
        "toy": {"distribution": "moons", "rows": 100},
        "folder": {"path": str(files), "size": 8, "test_fraction": 0.5},
        "celeba": {"folder": str(files), "size": 8},
        "shards": {"path": str(files / "images.tar"), "size": 8, "test_fraction": 0.5},
        "npy": {"path": str(files / "table.npy")},
        "arrow": {"path": str(files / "table.parquet"), "test_fraction": 0.5},
    }
    results = [
        check.result()
        for check in checks(name, "datasets", **settings.get(name, {"folder": str(files)}))
    ]
    assert [str(result) for result in results if not result.ok or result.skipped] == []
    assert len(results) > 3


def test_datasets_that_need_a_download_are_skipped_with_the_reason(monkeypatch, tmp_path):
    def offline(url, *_):
        raise DataError(f"{url} cannot be downloaded: no network")

    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    monkeypatch.setattr(mnist_family, "fetch", offline)
    (result,) = (check.result() for check in checks("kmnist", "datasets"))
    assert (result.check, result.skipped) == ("builds", True)
    assert "no network. Put its files into $GENZOO_DATA/kmnist" in result.reason


def test_a_distribution_over_texts_sums_to_one():
    """The exact likelihoods of the toy model over all 3**4 texts sum to 1."""
    model = Bigrams(shape=(4, 3)).double()
    texts = torch.cartesian_prod(*[torch.arange(3)] * 4)
    total = model.log_prob(nn.functional.one_hot(texts, 3).double()).exp().sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


class Constant(Model):
    def __init__(self, value: float = 0.5, shape: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.value, self.shape = nn.Parameter(torch.full(shape, value)), shape

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": (batch - self.value).square().mean()}

    @torch.no_grad()
    def sample(self, n: int, given: object = None) -> Tensor:
        return self.value.expand(n, -1)


def test_the_smallest_model_has_one_player_that_owns_all_parameters():
    model = Constant()
    (player,) = model.players()
    assert player.name == "model"
    assert [id(p) for p in player.parameters()] == [id(model.value)]
    assert player.steps_per_round == 1
    assert player.loss(torch.ones(3, 2))["loss"].item() == 0.25


def test_arguments_are_stored_separately_from_attributes():
    model = Constant(0.25)
    assert isinstance(model.value, nn.Parameter)
    assert repr(model) == "Constant(value=0.25, shape=(2,))"
    assert repr(copy.deepcopy(model)) == repr(model)


def test_arguments_are_checked_as_in_a_recipe():
    with pytest.raises(SettingError, match=r'Constant\.value = "a half": expected a number'):
        Constant("a half")
    with pytest.raises(TypeError, match="valeu"):
        Constant(valeu=1.0)


def test_an_unregistered_model_works_but_has_no_config():
    with pytest.raises(SettingError, match=r"test_contract\.Constant is not registered"):
        _ = Constant().config


def test_a_registered_class_has_a_config():
    genzoo.models.register("constant", Constant)
    try:
        assert Constant(0.25).config == {"name": "constant", "value": 0.25, "shape": (2,)}
        assert genzoo.build("constant", shape=(3,)).config == {
            "name": "constant",
            "value": 0.5,
            "shape": (3,),
        }
    finally:
        genzoo.registry.lookup.registries["models"].unregister("constant")


def test_frozen_parameters_are_excluded_and_shared_ones_counted_once():
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    one.bias.requires_grad_(False)
    player = Player(name="all", owns=(one, nn.Sequential(one, two)), loss=lambda batch: {})
    assert [id(p) for p in player.parameters()] == [
        id(p) for p in (one.weight, two.weight, two.bias)
    ]


def test_batch_size_and_example():
    assert Constant().batch_size(torch.zeros(3, 7)) == 3
    assert Translator().batch_size({"x": torch.zeros(4, 1), "y": torch.zeros(4, 2)}) == 4
    assert Constant().double().example(2).dtype == torch.float64


@pytest.mark.parametrize("call", [lambda m: m.loss(None), lambda m: m.sample(1)])
def test_a_missing_method_is_named(call):
    class Empty(Model):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty (defines neither|does not define) "):
        call(Empty())


def test_a_prior_has_one_stratum_by_default():
    class Zero(Prior):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.dim = dim

        def sample(self, n: int) -> Tensor:
            return torch.zeros(n, self.dim)

    z, weights = Zero(3).strata(5)
    assert z.shape == (1, 5, 3)
    assert weights.tolist() == [1.0]


def test_the_repr_of_a_configurable_shows_its_arguments():
    class Pair(Configurable):
        def __init__(self, first: int, *, second: int = 2) -> None:
            super().__init__()

    assert repr(Pair(1)) == "Pair(first=1, second=2)"
