"""Noise is one draw for the whole batch, however it is split."""

import pytest
import torch

from genzoo.distributed import emulate_rank, noise, share, uniform, whole_batch
from genzoo.distributed.keyed_draws import draws

CPU = torch.device("cpu")
LIKE = torch.zeros(())
DRAWS = {
    "noise": lambda n: noise(n, 3, like=LIKE),
    "uniform": lambda n: uniform(n, 3, like=LIKE),
    "double": lambda n: noise(n, 3, like=LIKE.double()),
    "half": lambda n: noise(n, 3, like=LIKE.bfloat16()),
}


def rows(draw, n, *, parts=1, size=1, pieces=1, key=("seed", 1)):
    """Return the first and second draws for a batch of `n` rows, joined from all its shares."""
    outputs = []
    for part in range(parts):
        for rank in range(size):
            for piece in range(pieces):
                with (
                    emulate_rank(rank, size),
                    draws(CPU, *key, part=part, parts=parts, piece=piece, pieces=pieces),
                ):
                    outputs.append([draw(n // (parts * size * pieces)) for _ in range(2)])
    return [torch.cat(each) for each in zip(*outputs, strict=True)]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(
    "cut",
    [{"parts": 4}, {"size": 3}, {"parts": 2, "size": 3}, {"parts": 2, "size": 2, "pieces": 3}],
)
def test_splitting_a_batch_does_not_change_its_noise(draw, cut):
    whole, parts = rows(DRAWS[draw], 12), rows(DRAWS[draw], 12, **cut)
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))
    assert not torch.equal(*whole)
    assert len(whole[0].unique(dim=0)) == 12
    assert not torch.equal(whole[0], rows(DRAWS[draw], 12, key=("seed", 2))[0])


@pytest.mark.parametrize("size", [1, 2])
def test_rows_of_microbatches_are_contiguous(size):
    whole = rows(DRAWS["noise"], 12)[0].view(3, size, -1, 3)
    for rank in range(size):
        with emulate_rank(rank, size), draws(CPU, "seed", 1, part=None, parts=3):
            assert torch.equal(noise(12 // size, 3, like=LIKE), whole[:, rank].flatten(0, 1))


def test_gathered_examples_have_the_noise_of_their_microbatch():
    whole = rows(DRAWS["noise"], 12)[0]
    for part in range(2):
        for rank in range(3):
            with (
                emulate_rank(rank, 3),
                draws(CPU, "seed", 1, part=part, parts=2),
                emulate_rank(0, 1),
            ):
                assert torch.equal(noise(6, 3, like=LIKE), whole[6 * part : 6 * part + 6])


def test_shared_random_numbers_are_equal_in_all_shares_of_a_batch():
    shares, samples = [], []
    for part in range(2):
        for rank in range(3):
            with emulate_rank(rank, 3), draws(CPU, "seed", 1, part=part, parts=2):
                shares.append(share())
                with whole_batch():
                    samples.append(noise(1, 3, like=LIKE))
                    assert share() == (0, 1)
    assert shares == [(i, 6) for i in range(6)]
    assert all(torch.equal(sample, rows(DRAWS["noise"], 1)[0]) for sample in samples)


def test_other_random_numbers_differ_per_microbatch_and_do_not_change_the_shared_ones():
    def both(part, many):
        with draws(CPU, "seed", 1, part=part, parts=2):
            other = torch.randn(many)
            return other[:4], noise(4, 3, like=LIKE)

    (few, first), (_, same), (another, _) = both(0, 4), both(0, 40), both(1, 4)
    assert torch.equal(first, same)
    assert not torch.equal(few, another)
    assert torch.equal(few, both(0, 4)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_uniform_numbers_have_at_least_single_precision(dtype):
    torch.manual_seed(0)
    u = uniform(200_000, like=torch.zeros((), dtype=dtype))
    assert u.dtype == torch.promote_types(dtype, torch.float32)
    assert (u < 1e-4).double().mean().item() == pytest.approx(1e-4, rel=0.7)
    assert noise(2, like=torch.zeros((), dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_loss_has_the_noise_of_the_eager_loss_and_is_compiled_once(backend):
    from torch._dynamo.testing import CompileCounterWithBackend

    def loss(w):
        one, other = noise(len(w), 2, like=w), noise(len(w), 2, like=w)
        with emulate_rank(0, 1):
            gathered = uniform(3 * len(w), 2, like=w)
        with whole_batch():
            shift = noise(1, 2, like=w)
        return (w * one).sum(), other, gathered, shift

    torch.compiler.reset()
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    for step in range(2):
        for part in range(3):
            w = torch.ones(4, 2, requires_grad=True)
            results = []
            for function in (loss, compiled):
                with emulate_rank(1, 3), draws(CPU, "seed", step, part=part, parts=3):
                    first, *rest = function(w)
                    results.append([*torch.autograd.grad(first, w), *rest, noise(1, like=w)])
            assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
            assert not torch.equal(results[0][0], results[0][1])
    assert counter.frame_count == 1
    torch.manual_seed(0)
    expected = torch.randn(4, 2), torch.randn(4, 2)
    torch.manual_seed(0)
    # outside a run, noise comes from torch's generator
    assert torch.equal(compiled(w)[0], expected[0].sum())
    torch.manual_seed(0)
    assert torch.equal(compiled(w)[1], expected[1])


@pytest.mark.parametrize("again", [False, True], ids=["kept", "checkpointed"])
def test_recomputed_activations_have_the_same_noise(again):
    def layer(w):
        # the gradient is the noise that multiplies w, times the result
        return (w * noise(4, 2, like=w) + noise(4, 2, like=w)).exp()

    w = torch.zeros(4, 2, requires_grad=True)
    with draws(CPU, "seed"):
        noise(3, like=w)
        y = torch.utils.checkpoint.checkpoint(layer, w, use_reentrant=False) if again else layer(w)
        noise(3, like=w)
        gradient = torch.autograd.grad(y.sum(), w)[0]
    with draws(CPU, "seed"):
        noise(3, like=w)
        first, second = noise(4, 2, like=w), noise(4, 2, like=w)
    torch.testing.assert_close(gradient, first * second.exp())
