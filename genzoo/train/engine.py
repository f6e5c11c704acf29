"""The machine under the loop: device, precision, processes and their collectives, on Lightning Fabric.

Modules are never wrapped: ranks broadcast the initial weights, and a player's gradients are all-reduced, flat, after its
backward. So a loss may call any method of any part, and the traps of wrapped games cannot occur.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.errors import SettingError, on_one_line, show
from genzoo.train.processes import Processes, announced, environment, launch

_DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16}


class Engine:
    """Where and how a run computes: `device`, `rank` of `size`, and the few collectives that a game needs.

    Arguments:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: as in `Settings`.

    Raises:
        SettingError: no such device here, Fabric's environment asks for another strategy or precision, or the processes that
            a launcher announced cannot be connected.
    """

    def __init__(self, device: str, precision: str) -> None:
        accelerator, devices = check_device(device)
        group = announced()
        _check_environment(precision, group)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*srun.*|.*AMP with fp16.*"
            )  # the latter is refused below
            from lightning_fabric import Fabric

            with _quiet("lightning_fabric"):
                try:
                    self.fabric = Fabric(
                        accelerator=accelerator,
                        devices=group.local if group.size > 1 else devices,
                        num_nodes=group.nodes,
                        precision=precision,  # type: ignore[arg-type]
                        strategy="ddp" if group.size > 1 else "auto",
                        plugins=[environment(group)],
                    )
                except Exception as error:  # of several types, all about what it was asked for or found in LT_ variables
                    reason = on_one_line(str(error))
                    raise SettingError(
                        f"Lightning Fabric refuses this device or environment: {reason}"
                    ) from error
                launch(self.fabric, group)
        self.device, self.rank, self.size = (
            self.fabric.device,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        if self.size != group.size:
            raise SettingError(
                f"{self.size} processes are running where the launcher announced {group.size}; start with torchrun"
            )
        if precision == "16-mixed" and self.device.type == "cpu":
            raise SettingError(
                'train.precision = "16-mixed": a CPU has no half precision to train in; use "bf16-mixed"'
            )
        self.dtype = _DTYPES.get(precision, torch.float32)
        self.precision = precision

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def scaler(self) -> torch.amp.GradScaler:
        """A gradient scaler, which does nothing but for half precision."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "16-mixed")

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute a loss in the run's precision.

        Autocast keeps the weights that it casts until the outermost context ends. A caller may hold
        one open around many steps, so what it kept is forgotten here.
        """
        torch.clear_autocast_cache()
        try:
            with self.fabric.autocast():
                yield
        finally:
            torch.clear_autocast_cache()

    def adopt(self, model: nn.Module) -> None:
        """Move a model here, in the run's dtype, with rank 0's weights."""
        model.to(device=self.device, dtype=self.dtype)
        if self.size > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                torch.distributed.broadcast(tensor.data, 0)

    def cast(self, tensor: Tensor) -> Tensor:
        """A floating tensor in the run's dtype."""
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def reduce_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over ranks: one flat collective a dtype."""
        if self.size == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        for dtype in dict.fromkeys(grad.dtype for grad in grads):
            same = [grad for grad in grads if grad.dtype == dtype]
            flat = self.mean(torch.cat([grad.flatten() for grad in same]))
            for grad, new in zip(same, flat.split([g.numel() for g in same]), strict=True):
                grad.copy_(new.view_as(grad))

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over ranks."""
        return self.fabric.all_reduce(tensor, reduce_op="mean") if self.size > 1 else tensor  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        if self.size == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.fabric.barrier()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Within: a library's logger passes on warnings and errors only."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)


def check_device(device: str) -> tuple[str, Any]:
    """The kind and index of a device.

    Raises:
        SettingError: it is none, or this machine has it not.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,4})?", device):
        raise SettingError(
            f'device = {show(device)}: expected "auto", "cpu", "cuda", "cuda:1" or "mps"'
        )
    kind, _, index = device.partition(":")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(
        kind, True
    )
    if not there or (index and int(index) >= torch.cuda.device_count()):
        raise SettingError(
            f'device = "{device}": this machine has no such device; use "auto" or "cpu"'
        )
    return kind, [int(index)] if index else 1


def _check_environment(precision: str, group: Processes) -> None:
    """Refuse what `fabric run` may have put into the environment, where it would silently win over the run's own settings.

    Raises:
        SettingError: a strategy that shards or splits the model, a precision that is not the run's, or other processes.
    """
    strategy = os.environ.get("LT_STRATEGY", "auto")
    if strategy not in ("auto", "ddp"):
        raise SettingError(
            f"LT_STRATEGY = {strategy!r}: genzoo keeps the whole model on every process, for a gradient penalty needs whole "
            'weights and is silently wrong on sharded layers; unset it, or use "ddp"'
        )
    other = os.environ.get("LT_PRECISION", precision)
    if other != precision:
        raise SettingError(
            f"LT_PRECISION = {other!r}, and train.precision = {precision!r}; unset it, or make them agree"
        )
    for name, number in (("LT_DEVICES", group.local), ("LT_NUM_NODES", group.nodes)):
        text = os.environ.get(name, "auto")
        asked = text.count(",") + 1 if "," in text else text
        if asked not in ("auto", number, str(number)):
            raise SettingError(
                f"{name} = {show(text)}, and the launcher announced {number}; unset it, and start with torchrun or fabric run."
            )
