"""Datasets, and the path from stored rows to batches on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names

if TYPE_CHECKING:
    from genzoo.data.array_files import npy
    from genzoo.data.arrays import as_dataset
    from genzoo.data.arrow_dataset import arrow
    from genzoo.data.celeba_folder import celeba
    from genzoo.data.cifar import cifar10, cifar100
    from genzoo.data.house_numbers import svhn
    from genzoo.data.image_folder import folder
    from genzoo.data.mnist_family import emnist, fashion_mnist, kmnist, mnist
    from genzoo.data.sklearn_digits import digits
    from genzoo.data.stored import CacheEntry, cached, clear_cache
    from genzoo.data.stream import Stream, once
    from genzoo.data.tar_shards import shards
    from genzoo.data.toy_points import toy
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.data.array_files": ("npy",),
            "genzoo.data.arrays": ("as_dataset",),
            "genzoo.data.arrow_dataset": ("arrow",),
            "genzoo.data.celeba_folder": ("celeba",),
            "genzoo.data.cifar": ("cifar10", "cifar100"),
            "genzoo.data.image_folder": ("folder",),
            "genzoo.data.mnist_family": ("emnist", "fashion_mnist", "kmnist", "mnist"),
            "genzoo.data.tar_shards": ("shards",),
            "genzoo.data.sklearn_digits": ("digits",),
            "genzoo.data.stored": ("CacheEntry", "cached", "clear_cache"),
            "genzoo.data.stream": ("Stream", "once"),
            "genzoo.data.house_numbers": ("svhn",),
            "genzoo.data.toy_points": ("toy",),
        },
    )

__all__ = [
    "CacheEntry",
    "Stream",
    "arrow",
    "as_dataset",
    "cached",
    "celeba",
    "cifar10",
    "cifar100",
    "clear_cache",
    "digits",
    "emnist",
    "fashion_mnist",
    "folder",
    "kmnist",
    "mnist",
    "npy",
    "once",
    "shards",
    "svhn",
    "toy",
]
