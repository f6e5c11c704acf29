"""Free memory, as the system reports it, and allocations that exceed it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from genzoo import memory


def test_free_memory_of_the_cpu_is_read_from_the_system(tmp_path, monkeypatch):
    table = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "_MEMINFO", table)
    assert memory.free_memory(torch.device("cpu")) is None
    table.write_text("MemTotal:       100 kB\nMemAvailable:    42 kB\n")
    assert memory.free_memory(torch.device("cpu")) == 42 * 1024
    table.write_text("MemTotal:       100 kB\n")
    assert memory.free_memory(torch.device("cpu")) is None


def test_sizes_are_formatted():
    assert memory.format_bytes(5 * 2**30) == "5.0 GiB"
    assert memory.format_bytes(3 * 2**20) == "3 MiB"


def test_too_large_tensors_are_refused_before_allocation(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 2**20)
    with memory.allocations():
        kept = [torch.zeros(2**16), torch.randn(100, generator=torch.Generator().manual_seed(0))]
    assert kept[0].device.type == "cpu"
    with (
        pytest.raises(memory.TooLargeError, match=r"^more than 2 MiB, and 1 MiB are free"),
        memory.allocations(),
    ):
        torch.nn.Linear(2**10, 2**9)
    with pytest.raises(memory.TooLargeError), memory.allocations():  # together
        kept = [torch.empty(2**17) for _ in range(3)]


def test_size_errors_of_torch_and_numpy_are_converted():
    for work in (
        lambda: torch.zeros(2**40, 2**40),
        lambda: np.zeros((2**31, 2**31)),
        lambda: np.zeros((2**62, 2**62)),
        lambda: torch.zeros(10**30),
        lambda: torch.rand(10**7, 1) @ torch.rand(1, 10**7),
    ):
        with pytest.raises(memory.TooLargeError), memory.allocations():
            work()


def test_other_errors_are_not_converted():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), memory.allocations():
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_meta_tensors_are_not_counted():
    with torch.device("meta"), memory.allocations():
        assert torch.empty(10**15).is_meta


@pytest.mark.skipif(
    not os.confstr("CS_GNU_LIBC_VERSION") if sys.platform == "linux" else True,
    reason="only glibc has this setting",
)
def test_freed_memory_is_reused():
    """Blocks that are allocated again cause no page faults, if freed memory is kept."""
    program = """
import ctypes, resource, sys
if sys.argv[1] == "keep":
    from genzoo.memory import keep_freed_memory
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
SIZE = 24 << 20
def step():
    blocks = [libc.malloc(SIZE) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in reversed(blocks):
        libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        way: int(subprocess.check_output([sys.executable, "-c", program, way], text=True))
        for way in ("keep", "default")
    }
    assert faults["keep"] < faults["default"] / 10
