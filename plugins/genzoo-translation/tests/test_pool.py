"""The pool of generated images: its content, its output, and equality across ranks."""

import pytest
import torch
from genzoo_translation import pool as module
from genzoo_translation.pool import ImagePool


def numbered(first, n):
    return torch.arange(first, first + n, dtype=torch.float32).view(n, 1, 1, 1)


def test_a_pool_stores_and_returns_all_images_until_it_is_full():
    pool = ImagePool(5, (1, 1, 1))
    for first in range(4):
        assert pool(numbered(first, 1)).item() == first
    assert int(pool.filled) == 4
    assert sorted(pool.images.flatten()[:4].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
def test_no_image_is_lost_or_duplicated(batch):
    """A full pool: returned and stored images are those stored before plus the new ones."""
    pool = ImagePool(4, (1, 1, 1))
    pool(numbered(-4, 4))
    for step in range(30):
        kept, fake = pool.images.flatten().tolist(), numbered(step * batch, batch)
        returned = pool(fake).flatten().tolist()
        assert sorted(returned + pool.images.flatten().tolist()) == sorted(
            kept + fake.flatten().tolist()
        )


def test_a_batch_fills_only_the_free_places():
    pool = ImagePool(4, (1, 1, 1))
    pool(numbered(0, 3))
    assert pool(numbered(3, 3)).flatten().tolist() == [3, 4, 5]
    assert sorted(pool.images.flatten().tolist()) == [0, 1, 2, 3]


@pytest.mark.slow
def test_half_of_the_returned_images_are_old_and_every_place_is_used():
    pool = ImagePool(50, (1, 1, 1))
    pool(numbered(0, 50))
    images = [numbered(50 + i, 1) for i in range(4000)]
    old = [pool(x).item() != x.item() for x in images]
    assert abs(sum(old) / 4000 - 0.5) < 3 * 0.5 / 4000**0.5
    assert pool.images.min() > 50  # the first images were replaced


def test_a_pool_of_size_zero_is_off():
    x = torch.rand(3, 1, 2, 2)
    assert ImagePool(0, (1, 2, 2))(x) is x


def test_ranks_share_the_pool_and_return_the_images_of_one_process(monkeypatch):
    batches = [numbered(6 * step, 6) for step in range(20)]
    alone = ImagePool(8, (1, 1, 1))
    torch.manual_seed(3)
    expected = [alone(batch) for batch in batches]
    for rank in (0, 1):
        pool = ImagePool(8, (1, 1, 1))
        monkeypatch.setattr(module, "rank_and_world_size", lambda rank=rank: (rank, 2))
        torch.manual_seed(3)
        for batch, returned in zip(batches, expected, strict=True):
            monkeypatch.setattr(module, "gather", lambda x, batch=batch: batch)
            assert torch.equal(
                pool(batch[3 * rank : 3 * rank + 3]), returned[3 * rank : 3 * rank + 3]
            )
        assert torch.equal(pool.images, alone.images)
