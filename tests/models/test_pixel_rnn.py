"""PixelRNN against independent oracles: dataflow on sets, enumeration, and naive sampling."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import genzoo
from genzoo.blocks.pixel import ConvLayer, DiagonalBiLSTM, RowLSTM
from genzoo.errors import DataError, SettingError
from genzoo.models.pixel_rnn import PixelRNN
from tests.dataflow import past, support

LAYERS = ("diagonal-bilstm", "row-lstm", "conv")


def wide(layer: str, shape: tuple[int, ...], scale: float = 0.5, **settings) -> PixelRNN:
    """Return a model in float64 with large weights, because small ones hide differences."""
    model = PixelRNN(
        layer, shape=shape, **{"hidden": 6, "depth": 2, "head": 8, **settings}
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, scale)
    return model


def logits_of(model: PixelRNN, x: Tensor, given: Tensor | None = None) -> Tensor:
    """Return logits `(batch, C * H * W, levels or 1)`."""
    distribution = model.distribution(x, given)
    return distribution.logits.reshape(len(x), math.prod(model.shape), -1)


def jacobian_support(model: PixelRNN, draws: int) -> np.ndarray:
    """Return where the Jacobian of the logits is not 0.

    Several images are needed, because dead ReLUs hide paths in some of them.
    """
    size = math.prod(model.shape)
    support = np.zeros((size, size), bool)
    for _ in range(draws):
        x = torch.rand(1, *model.shape, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(
            lambda x: logits_of(model, x)[0].sum(-1), x, vectorize=True
        )
        support |= (jacobian.reshape(size, size) != 0).numpy()
    return support


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 4, 10), {"depth": 1}),
        ((1, 6, 5), {"depth": 2, "skip": True}),
        ((1, 3, 11), {"depth": 3, "kernel": 3, "residual": False}),
        ((3, 3, 9), {"depth": 1, "hidden": 20}),
        ((3, 3, 5), {"depth": 1, "hidden": 30, "kernel": 1}),
        ((3, 4, 3), {"depth": 2, "hidden": 11, "levels": 4}),
    ],
    ids=str,
)
def test_each_output_depends_on_all_allowed_inputs_and_no_others(layer, shape, settings):
    model = wide(layer, shape, 0.3, **{"hidden": 12, "head": 47, **settings})
    # A layer sees its own pixel, so residual and skip connections add no further paths.
    expected = support(layer, settings["depth"], shape, settings.get("kernel", 7))
    actual = jacobian_support(model, draws=4)
    assert not (actual & ~past(shape)).any(), "a leak"
    assert (actual == expected).all(), (
        f"{(expected & ~actual).sum()} pairs missing, {(actual & ~expected).sum()} too many"
    )


def test_the_blind_spot_matches_the_paper():
    """The Diagonal BiLSTM misses the last pixel of the row above.

    Only the first convolution can reach it.
    """
    shape = (1, 3, 11)
    missing = past(shape) & ~support("diagonal-bilstm", 2, shape)
    pairs = {
        (int(i) // 11, int(i) % 11, int(j) // 11, int(j) % 11)
        for i, j in zip(*missing.nonzero(), strict=True)
    }
    assert pairs == {(r, c, r - 1, 10) for r in (1, 2) for c in range(7)}


def test_the_receptive_field_of_the_row_lstm():
    """It sees a triangle above, growing by a column per row, and 3 + depth pixels of its row."""
    actual = support("row-lstm", 2, (1, 5, 13)).reshape(5, 13, 5, 13)[4, 6]
    assert actual[4].nonzero()[0].tolist() == [1, 2, 3, 4, 5]
    for back in (1, 2, 3):
        assert actual[4 - back].nonzero()[0].max() == min(12, 6 + back + 2)


@pytest.mark.parametrize("layer", LAYERS)
def test_an_empty_batch_has_a_gradient(layer):
    model = wide(layer, (1, 3, 4))
    model.log_prob(torch.zeros(0, 1, 3, 4, dtype=torch.float64)).sum().backward()
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


@pytest.mark.parametrize("layer", LAYERS)
def test_examples_of_a_batch_are_independent(layer):
    model = wide(layer, (1, 4, 5))
    x = torch.rand(3, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(logits_of(model, x)[1].sum(), x)
    assert gradient[1].abs().sum() > 0
    assert gradient[[0, 2]].abs().sum() == 0


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scale", [0.1, 0.7])
@pytest.mark.parametrize(
    ("shape", "levels"), [((1, 3, 4), 2), ((3, 2, 2), 2), ((1, 2, 2), 5), ((3, 1, 1), 16)], ids=str
)
def test_probabilities_of_all_images_sum_to_one(layer, shape, levels, scale):
    model = wide(layer, shape, scale, levels=levels)
    size = math.prod(shape)
    every = torch.tensor(
        list(itertools.product(range(levels), repeat=size)), dtype=torch.float64
    ) / (levels - 1)
    total = sum(
        model.log_prob(part.view(-1, *shape)).exp().sum().item()
        for part in every.detach().split(2048)
    )
    assert abs(total - 1) < 1e-10


def naive(model: PixelRNN, u: Tensor, given: Tensor | None = None) -> Tensor:
    """Sample with one forward pass per value, and invert the distribution by hand."""
    x = torch.full_like(u, 0.123)  # later values must not matter
    for r, c, k in itertools.product(
        range(model.shape[1]), range(model.shape[2]), range(model.shape[0])
    ):
        with torch.no_grad():
            distribution = model.distribution(x, given)
        if model.levels == 2:
            x[:, k, r, c] = (u[:, k, r, c] < distribution.probs[:, k, r, c]).to(u.dtype)
        else:
            edges = distribution.probs[:, k, r, c].cumsum(-1)
            x[:, k, r, c] = (edges <= u[:, k, r, c, None]).sum(-1).clamp(
                max=model.levels - 1
            ).double() / (model.levels - 1)
    return x


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 4, 10), {}),
        ((1, 9, 3), {"depth": 3, "skip": True}),
        ((3, 4, 6), {"hidden": 5, "levels": 4, "classes": 3}),
        ((3, 3, 9), {"residual": False, "kernel": 5}),
        ((1, 5, 1), {"kernel": 1}),
        ((1, 1, 6), {"kernel": 9}),
    ],
    ids=str,
)
def test_samples_equal_naive_samples_bit_for_bit(layer, shape, settings):
    model = wide(layer, shape, 0.3, **settings)
    u = torch.rand(100, *shape, dtype=torch.float64)
    y = torch.arange(100) % 3 if model.classes else None
    fast, slow = model.draw(u, None, None, y).detach(), naive(model, u, y)
    assert torch.equal(fast, slow)
    assert 0.02 < fast.mean() < 0.98, "constant images would be a weak test"


@pytest.mark.parametrize("layer", LAYERS)
def test_only_independent_pixels_are_sampled_together(layer):
    shape = (1, 5, 12)
    model = PixelRNN(layer, hidden=4, depth=2, shape=shape)
    seen = support(layer, 2, shape)
    done: set[int] = set()
    for front in model.fronts():
        for pixel in front.tolist():
            assert set(seen[pixel].nonzero()[0].tolist()) <= done
        done |= set(front.tolist())
    assert len(done) == 60
    assert len(model.fronts()) == (60 if layer == "diagonal-bilstm" else 12 + 4 * 4)


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_the_likelihood_matches_the_entropy_of_samples(layer):
    """The mean of -log p over samples equals the entropy, which is computed by enumeration."""
    model = wide(layer, (1, 3, 3), 0.8)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 9).view(
        -1, 1, 3, 3
    )
    log_prob = model.log_prob(every).detach()
    entropy = -(log_prob.exp() * log_prob).sum()
    spread = (log_prob.exp() * (log_prob + entropy).square()).sum().sqrt()
    samples = model.sample(20_000)
    assert abs(-model.score_samples(samples).mean() - entropy) < 4 * spread / math.sqrt(20_000)
    frequency = samples.mean(0).flatten()
    torch.testing.assert_close(
        frequency, (log_prob.exp()[:, None] * every.flatten(1)).sum(0), atol=0.02, rtol=0
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_conditionals_multiply_to_the_likelihood(layer):
    model = wide(layer, (3, 2, 3), levels=3)
    x = model.sample(4)
    distribution = model.conditionals(x)
    assert distribution.probs.shape == (4, 3, 2, 3, 3)
    torch.testing.assert_close(
        distribution.probs.sum(-1), torch.ones(4, 3, 2, 3, dtype=torch.float64)
    )
    chosen = (
        distribution.probs.gather(-1, (x * 2).round().long()[..., None]).log().sum((1, 2, 3, 4))
    )
    torch.testing.assert_close(model.log_prob(x), chosen)
    torch.testing.assert_close(model.bits_per_dim(x), -chosen / (18 * math.log(2)))


@pytest.mark.parametrize("layer", LAYERS)
def test_masks_hold_for_all_loaded_weights(layer):
    """Masks are not part of the state, so no weights can cause a leak."""
    shape = (3, 3, 5)
    model, dense = wide(layer, shape), wide(layer, shape)
    assert not [name for name in dense.state_dict() if "mask" in name]
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.fill_(1.0).add_(torch.rand_like(parameter))
    model.load_state_dict(dense.state_dict())
    assert not (jacobian_support(model, draws=2) & ~past(shape)).any()
    x = torch.rand(2, *shape, dtype=torch.float64)
    model.distribution(x).logits.sum().backward()
    for name, parameter in model.named_parameters():
        for mask in [
            m for key, m in model.named_buffers() if key == name.replace("weight", "mask")
        ]:
            held = (
                mask.expand_as(parameter)
                if mask.dim() == parameter.dim()
                else mask.expand(parameter.shape)
            )
            assert parameter.grad[held == 0].abs().sum() == 0, name


def test_groups_of_colors_are_equal_in_every_gate():
    """Red features see only red in each gate, even for 5 features and 3 colors."""
    layer = DiagonalBiLSTM(hidden=5, colors=3, height=2, width=2)
    groups = [0, 0, 1, 1, 2]
    inputs = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = torch.tensor(
        [[float(out >= source) for _ in range(4) for out in groups] for source in inputs]
    )
    assert torch.equal(layer.mask, expected)


@pytest.mark.parametrize(("kind", "layer"), [("row-lstm", RowLSTM), ("conv", ConvLayer)])
def test_logits_are_equivariant_to_shifts_away_from_the_edges(kind, layer):
    model = wide(kind, (1, 9, 23), depth=1)
    assert isinstance(model.layers[0], layer)
    x = torch.full((1, 1, 9, 23), 0.5, dtype=torch.float64)
    x[..., 8:10] = torch.rand(1, 1, 9, 2, dtype=torch.float64)
    logits, moved = (logits_of(model, each).view(9, 23) for each in (x, x.roll(3, -1)))
    torch.testing.assert_close(moved[:3, 9:16], logits[:3, 6:13], rtol=1e-12, atol=1e-12)


def test_the_right_direction_is_the_mirrored_left_direction():
    """With equal weights, row r + 1 of the right map is row r of the left one, mirrored."""
    layer = DiagonalBiLSTM(hidden=4, colors=1, height=5, width=6).double()
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias, layer.state_weight, layer.h0, layer.c0):
            parameter[1] = parameter[0].normal_()
    f = torch.randn(5, 6, 2, 8, dtype=torch.float64)

    def states(f: Tensor) -> tuple[Tensor, Tensor]:
        from genzoo.blocks.recurrent import scan

        x = layer.inputs(f.flatten(0, 1).index_select(0, layer.fronts.order))
        both = scan(x, layer.weights(), layer.bias, layer.h0, layer.c0, layer.fronts)
        left = both[0, :-1].index_select(0, layer.fronts.position[:-1]).unflatten(0, (5, 6))
        right = (
            both[1]
            .index_select(0, layer.above)
            .index_select(0, layer.fronts.position[:-1])
            .unflatten(0, (5, 6))
        )
        return left, right

    left_of_mirrored, _ = states(f.flip(1))
    _, right = states(f)
    torch.testing.assert_close(right[1:], left_of_mirrored.flip(1)[:-1])
    torch.testing.assert_close(right[0], layer.h0[1].expand_as(right[0]))


@pytest.mark.parametrize("layer", LAYERS)
def test_completion_keeps_known_pixels_and_samples_the_others_conditionally(layer):
    """Given the upper rows, lower rows follow the enumerated conditional distribution."""
    model = wide(layer, (1, 3, 3), 0.8)
    x = torch.tensor([0, 1, 1, 1, 0, 0, 1, 1, 1], dtype=torch.float64).view(1, 1, 3, 3)
    mask = torch.arange(3)[:, None].expand(1, 3, 3) < 2
    lower = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    every = x.expand(8, 1, 3, 3).clone()
    every[:, 0, 2] = lower
    weights = model.log_prob(every).softmax(0)
    completions = model.complete(x.expand(20_000, 1, 3, 3), mask)
    assert torch.equal(completions[:, :, :2], x[:, :, :2].expand(20_000, 1, 2, 3))
    frequencies = torch.stack(
        [(completions[:, 0, 2] == row).all(1).double().mean() for row in lower]
    )
    torch.testing.assert_close(frequencies, weights.detach(), atol=0.02, rtol=0)


def test_labels_change_the_distribution_and_are_checked():
    model = wide("row-lstm", (1, 3, 4), classes=3)
    assert model.inputs == ("x", "y")
    x, y = model.sample(2, torch.tensor([0, 2])), torch.tensor([0, 1])
    assert not torch.equal(model.log_prob(x, y), model.log_prob(x, y + 1))
    for bad, message in (
        (None, "nothing"),
        (torch.tensor([0.0, 1.0]), "float32"),
        (y.to(torch.int16), r"int16 .* y\.long"),
        (torch.tensor([0]), "shape"),
        (y + 2, "0 to 2"),
    ):
        with pytest.raises(DataError, match=message):
            model.log_prob(x, bad)
    with pytest.raises(DataError, match="takes no labels"):
        wide("row-lstm", (1, 3, 4)).log_prob(x, y)
    run = genzoo.fit(
        {"name": "pixel-rnn", "classes": 10, "hidden": 4, "depth": 1, "levels": 17},
        "digits",
        steps=2,
        batch_size=8,
    )
    assert run.model.sample(2, torch.tensor([3, 4])).shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (2, 8, 8)}, r"C = 1 or 3"),
        ({"shape": (8,)}, r"C = 1 or 3"),
        ({"shape": (3, 8, 8), "hidden": 2}, "a feature for each of the 3 colors"),
        ({"levels": 1}, "levels = 1"),
        ({"levels": 257}, "levels = 257"),
        ({"kernel": 4}, "kernel = 4"),
        ({"classes": -1}, "classes = -1"),
        ({"layer": "row"}, "row-lstm"),
    ],
)
def test_invalid_settings_are_named(settings, message):
    with pytest.raises(SettingError, match=message):
        PixelRNN(**settings)


def test_values_other_than_levels_are_named():
    model = PixelRNN(hidden=3, depth=1, levels=5, shape=(1, 2, 2))
    model.log_prob(torch.tensor([0, 0.25, 0.5, 1]).view(1, 1, 2, 2))
    for bad in (0.3, 1.25, -0.25, math.nan):
        with pytest.raises(DataError, match="levels of the data"):
            model.log_prob(torch.full((1, 1, 2, 2), bad))
    with pytest.raises(DataError, match="takes"):
        model.log_prob(torch.zeros(1, 1, 2, 3))
    with pytest.raises(DataError, match="levels"):
        genzoo.fit({"name": "pixel-rnn", "levels": 256}, "digits", steps=1)


@pytest.mark.slow
def test_a_model_larger_than_memory_warns_and_trains(monkeypatch):
    monkeypatch.setattr("genzoo.memory.free_memory", lambda device: 2**21)
    table = {"name": "pixel-rnn", "layer": "conv", "levels": 17, "shape": (1, 8, 8)}
    with pytest.warns(
        UserWarning,
        match=r"64 images of 1x8x8 .* about [\d.]+ MiB .*and 2 MiB of memory are free.*microbatch",
    ):
        assert genzoo.fit(table, "digits", steps=1, batch_size=64).steps == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        genzoo.fit(table, "digits", steps=1, batch_size=64, microbatches=64)


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"levels": 64, "depth": 3, "head": 48, "shape": (3, 9, 8)},
        {"skip": True, "residual": False, "classes": 3, "hidden": 5},
    ],
    ids=str,
)
def test_the_memory_estimate_matches_what_autograd_stores(layer, settings, mixed):
    model = PixelRNN(layer, **{"shape": (1, 12, 12), "depth": 2, **settings})
    parameter_storages = {
        parameter.untyped_storage().data_ptr() for parameter in model.parameters()
    }
    storages: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no address is reused

    def pack(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            loss = model.loss(model.example(16))["loss"]
        with torch.no_grad():
            estimate = model.memory(16)
    assert loss.requires_grad
    counted = sum(
        storage.nbytes()
        for address, storage in storages.items()
        if address not in parameter_storages
    )
    assert 1 / 1.1 < estimate / counted < 1.1


def test_the_memory_estimate_allocates_nothing():
    model = PixelRNN("row-lstm", hidden=4, depth=1, shape=(1, 64, 64))
    assert model.memory(10**6) > 2**40  # more than any machine has


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_a_few_steps_on_digits_beat_independent_pixels_and_samples_are_as_likely_as_data(layer):
    data = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    train, test = (data.prepare(torch.as_tensor(split["x"])) for split in (data.train, data.test))
    floor = genzoo.load("independent", shape=(1, 8, 8)).fit(train).score_samples(test).mean()
    run = genzoo.fit(
        {"name": "pixel-rnn", "layer": layer, "depth": 1},
        data,
        steps=120,
        batch_size=32,
        players={"model": {"lr": 0.01}},
    )
    score = run.model.score_samples(test).mean()
    assert score > floor + 3
    # with a leak, data and samples would have different scores
    assert abs(run.model.score_samples(run.model.sample(300)).mean() - score) < 2.5


@pytest.mark.parametrize(
    "table",
    [{"name": "pixel-rnn", "layer": layer, "hidden": 4, "depth": 2} for layer in LAYERS] + ["nade"],
)
def test_mixed_precision_trains_and_samples(table):
    data = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    run = genzoo.fit(table, data, steps=3, batch_size=8, precision="bf16-mixed", sample_every=2)
    whole = genzoo.fit(table, data, steps=3, batch_size=8)
    assert run.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run.model.sample(2).dtype == torch.float32
