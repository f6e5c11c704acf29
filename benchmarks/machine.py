"""Describe the machine of a measurement, and write the page with its results."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

INSTALL = "pip install --no-deps --target build/peers -r benchmarks/requirements.txt"
sys.path.append(str(Path(__file__).parents[1] / "build" / "peers"))


def cpu() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown CPU")


def machine() -> dict[str, Any]:
    """Return the processor, the system, and the versions."""
    return {
        "cpu": cpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def describe_machine(machine: Mapping[str, Any], *peers: str) -> str:
    """Describe the machine in a sentence, with the packages that genzoo is compared with."""
    versions = (
        f"Python {machine['python']}",
        f"torch {machine['torch']}",
        *(peers or ("pythae 0.1.2",)),
    )
    return f"{machine['cpu']}, {machine['system']}, {', '.join(versions)}."


def write(out: Path, result: Mapping[str, Any], page: str) -> None:
    """Write the numbers as JSON and the page as Markdown, and print the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    out.with_suffix(".md").write_text(page)
    print(page)
