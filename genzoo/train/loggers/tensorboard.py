"""The logger of TensorBoard events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.contract import LoggedRun, Logger, Status
from genzoo.errors import RunError

__all__ = ["TensorBoard"]


class TensorBoard(Logger):
    """Write scalars and sheets of samples to the run folder, as TensorBoard events.

    `tensorboard --logdir runs` shows them. A resume makes TensorBoard drop the events of the steps
    that are trained again. It needs the extra `tensorboard`.
    """

    def __init__(self) -> None:
        self._writer: Any = None

    def open(self, run: LoggedRun) -> None:
        if run.folder is None:
            raise RunError("TensorBoard events need a run folder; pass one, as in out='runs/a'.")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError(
                "it needs tensorboard; install it with: pip install 'genzoo[tensorboard]'"
            ) from None
        begin = run.step + 1 if run.step else 0
        self._writer = SummaryWriter(str(run.folder), purge_step=begin)  # type: ignore[no-untyped-call]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        # a killed run then loses nothing
        self._writer.flush()

    def picture(self, step: int, file: Path) -> None:
        if file.suffix == ".txt":
            lines = file.read_text(encoding="utf-8").splitlines()
            # TensorBoard shows Markdown, where an indented line is text as it is
            text = "\n".join(f"    {line}" for line in lines)
            self._writer.add_text("samples", text, step)
        else:
            import numpy as np
            from PIL import Image

            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._writer.add_image("samples", pixels, step, dataformats="HWC")
        self._writer.flush()

    def close(self, status: Status) -> None:  # noqa: ARG002
        if self._writer is not None:
            self._writer.close()
            self._writer = None
