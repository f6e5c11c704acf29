"""How much memory a device has left, to refuse in words what would not fit."""

from __future__ import annotations

from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")


def free(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where nobody says.

    Example:
        >>> left = free(torch.device("cpu"))
        >>> left is None or left > 0
        True
    """
    measure = getattr(torch.get_device_module(device), "mem_get_info", None)
    if measure is not None:
        return int(measure(device)[0])
    if device.type != "cpu" or not _MEMINFO.exists():
        return None
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def words(count: float) -> str:
    """Bytes in words.

    Example:
        >>> words(3 * 2**30)
        '3.0 GiB'
    """
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"
