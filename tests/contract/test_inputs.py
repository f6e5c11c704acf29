"""The inputs that methods of all models and priors refuse, and the inputs that they accept."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import genzoo
from genzoo import memory
from genzoo.contract import Model, Prior, has_capability
from genzoo.errors import DataError, SettingError

X = torch.arange(5 * 64).view(5, 1, 8, 8) / 320


class Plain(Model):
    """A model as a user writes one, without checks of its own."""

    def __init__(self, shape: tuple[int, ...] = (1, 8, 8)) -> None:
        super().__init__()
        self.shape, self.latent_dim = tuple(shape), 2
        self.down, self.up = nn.Linear(64, 2), nn.Linear(2, 64)

    def sample(self, n, given=None):
        return self.decode(torch.zeros(n, 2))

    def encode(self, x):
        """Codes."""
        return self.down(x.flatten(1))

    def decode(self, z):
        return self.up(z).view(-1, *self.shape)

    def log_prob(self, x, given=None):
        return self.encode(x).sum(1)

    def score(self, x):
        return (x - torch.zeros(5, 1, 8, 8)).flatten(1).sum(1)

    def elbo(self, x):
        raise ValueError("of its own")


class Line(Prior):
    def __init__(self, dim: int = 2) -> None:
        super().__init__()
        self.dim = dim

    def sample(self, n):
        return torch.zeros(n, self.dim)

    def log_prob(self, z):
        return z.sum(1)


@pytest.fixture(scope="module")
def models():
    table = {"shape": (1, 8, 8), "latent_dim": 2}
    return [
        Plain(),
        genzoo.load(
            "vae",
            encoder={"name": "mlp", "hidden": (4,)},
            decoder={"name": "mlp", "hidden": (4,)},
            **table,
        ),
        genzoo.load(
            "wae-mmd",
            random_encoder=True,
            encoder={"name": "mlp", "hidden": (4,)},
            decoder={"name": "mlp", "hidden": (4,)},
            **table,
        ),
        genzoo.load(
            "gan",
            generator={"name": "mlp", "hidden": (4,)},
            critic={"name": "mlp", "hidden": (4,)},
            **table,
        ),
        genzoo.load("nade", hidden=3, shape=(1, 8, 8)),
        genzoo.load("eonade", hidden=(3,), shape=(1, 8, 8)),
        genzoo.load("pixel-rnn", hidden=2, depth=1, head=2, layer="conv", shape=(1, 8, 8)),
    ]


READERS = (
    "encode", "posterior", "reconstruct", "log_prob", "elbo", "log_prob_bound", "bits_per_dim",
    "score_samples", "conditionals", "score",
)  # fmt: skip


def _dense():
    yield None, "is a NoneType: expected a tensor"
    yield [[1.0]], r"is a list: expected a tensor; give torch\.as_tensor\(x\)"
    yield X.numpy(), r"is a ndarray: expected a tensor; give torch\.as_tensor\(x\)"
    yield X.to_sparse(), r"is a sparse_coo tensor: expected a dense one; give x\.to_dense\(\)"
    yield X.flatten(1).to_sparse_csr(), "is a sparse_csr tensor"
    yield torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged), "is a nested tensor"
    yield (
        X[0],
        r"has shape \(1, 8, 8\), but .* takes \('batch', 1, 8, 8\); "
        r"for one example, give x\[None\]",
    )
    yield X[:, 0], r"has shape \(5, 8, 8\), but"
    yield X.flatten(1), r"has shape \(5, 64\), but"
    yield torch.tensor(1.0), r"has shape \(\), but"
    yield X[..., :7], r"has shape \(5, 1, 8, 7\), but"


def test_every_method_refuses_invalid_batches(models):
    seen = set()
    for model in models:
        for name in READERS:
            if not has_capability(model, name):
                continue
            seen.add(name)
            for x, message in _dense():
                with pytest.raises(DataError, match=f"^{name}: x {message}"):
                    getattr(model, name)(x)
    assert seen == set(READERS)


def test_every_method_refuses_other_dtypes_and_devices(models):
    for model in models:
        for name in READERS:
            if not has_capability(model, name) or isinstance(model, Plain):
                continue
            for x, message in (
                (
                    (X * 255).byte(),
                    r"x is torch\.uint8, but this .* is torch\.float32; "
                    r"give x\.to\(torch\.float32\)",
                ),
                (
                    X.double(),
                    r"x is torch\.float64, but this .* is torch\.float32; "
                    r"give x\.to\(torch\.float32\)",
                ),
                (X.to("meta"), "x is on meta, but this .* is on cpu; give x.to"),
            ):
                with pytest.raises(DataError, match=message):
                    getattr(model, name)(x)


def test_a_decoder_refuses_codes_of_another_dimension(models):
    for model in models[:4]:
        with pytest.raises(
            DataError, match=r"^decode: z has shape \(3, 5\), but .* takes \('batch', 2\)"
        ):
            model.decode(torch.zeros(3, 5))
        with pytest.raises(
            DataError,
            match=r"^decode: z has shape \(2,\), but .* for one example, give z\[None\]",
        ):
            model.decode(z=torch.zeros(2))


@pytest.mark.parametrize(
    "n", [-1, 2.5, "3", True, None, 10**30, torch.tensor(3), [2], float("nan")]
)
def test_the_number_of_samples_must_be_an_integer(models, n):
    for sampler in (*models, Line(), genzoo.build("mog", "priors", dim=2)):
        with pytest.raises(
            SettingError, match=r"^sample\(.*\): expected a whole number from 0 on\."
        ):
            sampler.sample(n)
        with pytest.raises(SettingError, match=r"^sample\("):
            sampler.sample(n=n)


def test_zero_samples_are_an_empty_batch_and_numpy_integers_are_accepted(models):
    for model in models:
        assert model.sample(0).shape == (0, 1, 8, 8)
        assert model.sample(np.int64(2)).shape == (2, 1, 8, 8)
    assert Line().sample(0).shape == (0, 2)


def test_samples_that_do_not_fit_into_memory_are_refused(models, monkeypatch):
    for sampler in (*models, Line()):
        with pytest.raises(
            SettingError,
            match=r"^sample\(10{15}\) needs [\d,.]+ TiB, and .* are free; take fewer at a time",
        ):
            sampler.sample(10**15)
    # if free memory is unknown, torch reports the error
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    with pytest.raises(
        SettingError, match=r"^sample\(10{15}\) does not fit into memory; take fewer at a time"
    ):
        Line().sample(10**15)


def test_a_prior_refuses_points_of_another_dimension():
    for prior in (
        Line(),
        *(genzoo.build(name, "priors", dim=2) for name in ("normal", "uniform", "mog")),
    ):
        with pytest.raises(
            DataError, match=r"^log_prob: z has shape \(4, 3\), but .* takes \('batch', 2\)"
        ):
            prior.log_prob(torch.zeros(4, 3))
    for call in (lambda: prior.strata(-1), lambda: prior.truncated(2.5, 1.0)):
        with pytest.raises(SettingError, match="expected a whole number from 0 on"):
            call()
    with pytest.raises(SettingError, match='truncation at "x" standard deviations'):
        prior.truncated(2, "x")


def test_errors_raised_by_a_model_are_unchanged(models):
    with pytest.raises(ValueError, match=r"^of its own$"):
        models[0].elbo(X)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        models[0].encode()
    with pytest.raises(RuntimeError, match="must match"):
        models[0].score(X[:3])


def test_inputs_reach_a_model_unchanged(models):
    plain = models[0]
    assert torch.equal(plain.encode(X), plain.down(X.flatten(1)))
    assert inspect.signature(Plain.log_prob) == inspect.signature(inspect.unwrap(Plain.log_prob))
    assert Plain.encode.__doc__ == "Codes."
    assert torch.equal(copy.deepcopy(plain).encode(X), plain.encode(X))
    assert torch.equal(pickle.loads(pickle.dumps(models[1])).encode(X), models[1].encode(X))


def test_function_transforms_and_compilers_skip_the_checks(models):
    plain = models[0]
    each = torch.func.vmap(lambda x: plain.encode(x[None])[0])(X)
    inside = torch.func.vmap(
        lambda x: plain.down(plain.decode(plain.encode(x)[0][None]).flatten(1))
    )(X)
    assert torch.allclose(each, plain.encode(X))
    assert inside.shape == (5, 1, 2)
    slope = torch.func.jacrev(lambda x: plain.log_prob(x).sum())(X)
    assert torch.allclose(slope[0].flatten(), plain.down.weight.sum(0))
    compiled = torch.compile(plain.encode, fullgraph=True, backend="eager")
    assert torch.equal(compiled(X), plain.encode(X))
