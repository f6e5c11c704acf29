"""Free memory, as the system tells it."""

import torch

from genzoo import memory


def test_the_cpus_is_what_the_system_says(tmp_path, monkeypatch):
    table = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "_MEMINFO", table)
    assert memory.free(torch.device("cpu")) is None
    table.write_text("MemTotal:       100 kB\nMemAvailable:    42 kB\n")
    assert memory.free(torch.device("cpu")) == 42 * 1024
    table.write_text("MemTotal:       100 kB\n")
    assert memory.free(torch.device("cpu")) is None


def test_words():
    assert memory.words(5 * 2**30) == "5.0 GiB"
    assert memory.words(3 * 2**20) == "3 MiB"
