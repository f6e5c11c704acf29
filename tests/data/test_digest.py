"""Digests against hashlib on bytes that are written out by hand."""

import hashlib
import struct

import numpy as np
import torch

from genzoo.data.digest import add_tensor, describe, of_tensors


def test_values_are_hashed_by_row_in_little_endian_order():
    digest = hashlib.sha256()
    add_tensor(digest, torch.tensor([[1.5, -2.0], [3.0, 4.0]]).T)
    assert digest.digest() == hashlib.sha256(struct.pack("<4f", 1.5, 3.0, -2.0, 4.0)).digest()


def test_a_digest_covers_names_types_shapes_and_facts():
    x = torch.arange(6, dtype=torch.int32)
    written = hashlib.sha256(
        b"(2, 7)\n'x' int32 (6,)\n" + np.arange(6, dtype="<i4").tobytes()
    ).hexdigest()
    assert of_tensors({"x": x}, 2, 7) == written
    others = [
        ({"y": x}, 2, 7),
        ({"x": x.view(2, 3)}, 2, 7),
        ({"x": x.view(torch.float32)}, 2, 7),
        ({"x": x}, 2, 8),
        ({}, 2, 7),
    ]
    assert len({of_tensors(*other) for other in others} | {written}) == 6
    assert of_tensors({"a": x, "b": x + 1}) == of_tensors({"b": x + 1, "a": x})


def test_a_digest_without_facts_covers_names_dtypes_shapes_and_bytes():
    weights = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor(True)}
    text = b"()\n'a' bool ()\n\x01" + b"\n'b' float32 (2,)\n" + b"\x00\x00\x80\x3f\x00\x00\x00\x40"
    assert of_tensors(weights) == hashlib.sha256(text).hexdigest()
    assert of_tensors({"a": torch.zeros(3, dtype=torch.bfloat16)}) != of_tensors(
        {"a": torch.zeros(3, dtype=torch.float16)}
    )
    assert of_tensors({"a": torch.zeros(2)}) != of_tensors({"a": torch.zeros(1, 2)})


def test_every_type_has_a_digest():
    for dtype in (
        torch.bfloat16,
        torch.float16,
        torch.float64,
        torch.bool,
        torch.int8,
        torch.uint8,
        torch.float8_e4m3fn,
    ):
        of_tensors(
            {
                "x": torch.zeros(3, dtype=dtype),
                "scalar": torch.zeros((), dtype=dtype),
                "none": torch.zeros(0, dtype=dtype),
            }
        )
    assert describe(torch.zeros(2, 3, dtype=torch.bfloat16)) == "bfloat16 (2, 3)"
