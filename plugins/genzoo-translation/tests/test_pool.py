"""The pool of generated images: its content, its output, and equality across ranks."""

import pytest
import torch
from genzoo_translation import pool as module
from genzoo_translation.pool import ImagePool


def numbered(first, n):
    return torch.arange(first, first + n, dtype=torch.float32).view(n, 1, 1, 1)


def test_until_it_is_full_all_is_kept_and_shown():
    pool = ImagePool(5, (1, 1, 1))
    for first in range(4):
        assert pool(numbered(first, 1)).item() == first
    assert int(pool.filled) == 4
    assert sorted(pool.images.flatten()[:4].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
def test_no_image_is_lost_or_doubled(batch):
    """Once it is full, what is shown and kept after a batch is what was kept and made before it."""
    pool = ImagePool(4, (1, 1, 1))
    pool(numbered(-4, 4))
    for step in range(30):
        kept, made = pool.images.flatten().tolist(), numbered(step * batch, batch)
        shown = pool(made).flatten().tolist()
        assert sorted(shown + pool.images.flatten().tolist()) == sorted(
            kept + made.flatten().tolist()
        )


def test_a_batch_that_fills_it_keeps_what_fits():
    pool = ImagePool(4, (1, 1, 1))
    pool(numbered(0, 3))
    assert pool(numbered(3, 3)).flatten().tolist() == [3, 4, 5]
    assert sorted(pool.images.flatten().tolist()) == [0, 1, 2, 3]


@pytest.mark.slow
def test_half_of_what_is_shown_is_old_and_every_place_is_used():
    pool = ImagePool(50, (1, 1, 1))
    pool(numbered(0, 50))
    made = [numbered(50 + i, 1) for i in range(4000)]
    old = [pool(x).item() != x.item() for x in made]
    assert abs(sum(old) / 4000 - 0.5) < 3 * 0.5 / 4000**0.5
    assert pool.images.min() > 50  # the first ones have long left


def test_it_is_off_where_it_has_no_place():
    x = torch.rand(3, 1, 2, 2)
    assert ImagePool(0, (1, 2, 2))(x) is x


def test_ranks_keep_the_same_pool_and_show_what_one_process_shows(monkeypatch):
    batches = [numbered(6 * step, 6) for step in range(20)]
    alone = ImagePool(8, (1, 1, 1))
    torch.manual_seed(3)
    expected = [alone(batch) for batch in batches]
    for rank in (0, 1):
        pool = ImagePool(8, (1, 1, 1))
        monkeypatch.setattr(module, "rank_and_world_size", lambda rank=rank: (rank, 2))
        torch.manual_seed(3)
        for batch, shown in zip(batches, expected, strict=True):
            monkeypatch.setattr(module, "gather", lambda own, batch=batch: batch)
            assert torch.equal(pool(batch[3 * rank : 3 * rank + 3]), shown[3 * rank : 3 * rank + 3])
        assert torch.equal(pool.images, alone.images)
