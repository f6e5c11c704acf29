"""Device, precision, and processes for the training loop, with Lightning Fabric.

Modules are never wrapped. Rank 0 broadcasts the initial weights, and a player's gradients are
all-reduced, flat, after its backward pass. So a loss may call any method of any part, and the traps
of wrapped games cannot occur.
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

__all__ = ["Engine", "check_device"]

_DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16}


class Engine:
    """The device and processes of a run: `device`, `rank` of `size`, and a few collectives.

    Arguments:
        device: "auto", "cpu", "cuda", "cuda:1", or "mps".
        precision: as in `Settings`.

    Raises:
        SettingError: this machine does not have the device, Fabric's environment asks for another
            strategy or precision, or the processes of the launcher cannot be connected.
    """

    def __init__(self, device: str, precision: str) -> None:
        accelerator, devices = check_device(device)
        group = announced()
        _check_environment(precision, group)
        with warnings.catch_warnings():
            # fp16 on a CPU is refused below
            warnings.filterwarnings("ignore", message=".*srun.*|.*AMP with fp16.*")
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
                # of several types, all about the arguments or the LT_ variables
                except Exception as error:
                    reason = on_one_line(str(error)).rstrip(".")
                    raise SettingError(
                        f"Lightning Fabric refuses this device or environment: {reason}."
                    ) from error
                launch(self.fabric, group)
        self.device, self.rank, self.size = (
            self.fabric.device,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        if self.size != group.size:
            raise SettingError(
                f"{self.size} processes are running, but the launcher announced {group.size}; "
                "start with torchrun."
            )
        if precision == "16-mixed" and self.device.type == "cpu":
            raise SettingError(
                'train.precision = "16-mixed": a CPU has no half precision to train in; use '
                '"bf16-mixed".'
            )
        self.dtype = _DTYPES.get(precision, torch.float32)
        self.precision = precision

    @property
    def main(self) -> bool:
        """Return whether this is the process that writes."""
        return self.rank == 0

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler, which does nothing except for half precision."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "16-mixed")

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute a loss in the run's precision.

        Autocast caches the weights that it casts until the outermost context ends. A caller may
        keep one open around many steps, so clear the cache here.
        """
        torch.clear_autocast_cache()
        try:
            with self.fabric.autocast():
                yield
        finally:
            torch.clear_autocast_cache()

    def adopt(self, model: nn.Module) -> None:
        """Move a model to the run's device and dtype, with the weights of rank 0."""
        model.to(device=self.device, dtype=self.dtype)
        if self.size > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                torch.distributed.broadcast(tensor.data, 0)

    def cast(self, tensor: Tensor) -> Tensor:
        """Return a tensor in the run's dtype; integers stay as they are."""
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def reduce_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over ranks, with one flat collective for each dtype."""
        if self.size == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        for dtype in dict.fromkeys(grad.dtype for grad in grads):
            same = [grad for grad in grads if grad.dtype == dtype]
            flat = self.mean(torch.cat([grad.flatten() for grad in same]))
            for grad, new in zip(same, flat.split([g.numel() for g in same]), strict=True):
                grad.copy_(new.view_as(grad))

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of a tensor over ranks."""
        return self.fabric.all_reduce(tensor, reduce_op="mean") if self.size > 1 else tensor  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - the flag is all that it takes, as in any()
        """Return whether the flag is set on any rank."""
        if self.size == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def agree(self, value: float) -> float:
        """Return the value of rank 0, on every rank."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return shared.item()

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.fabric.barrier()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence a logger below warnings within the block."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)


def check_device(device: str) -> tuple[str, Any]:
    """Return the accelerator and the devices of a device name, in Fabric's terms.

    Raises:
        SettingError: the device name is invalid or not available on this machine.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,4})?", device):
        raise SettingError(
            f'device = {show(device)}: expected "auto", "cpu", "cuda", "cuda:1", or "mps".'
        )
    accelerator, _, index = device.partition(":")
    is_available = True
    if accelerator == "cuda":
        is_available = torch.cuda.is_available()
    elif accelerator == "mps":
        is_available = torch.backends.mps.is_available()
    if not is_available or (index and int(index) >= torch.cuda.device_count()):
        raise SettingError(
            f'device = "{device}": this machine has no such device; use "auto" or "cpu".'
        )
    return accelerator, [int(index)] if index else 1


def _check_environment(precision: str, group: Processes) -> None:
    """Check the variables of `fabric run`, which would silently override the run's settings.

    Raises:
        SettingError: they ask for a strategy that shards or splits the model, for another
            precision, or for other processes.
    """
    strategy = os.environ.get("LT_STRATEGY", "auto")
    if strategy not in ("auto", "ddp"):
        raise SettingError(
            f"LT_STRATEGY = {strategy!r}: genzoo keeps the whole model on every process, because "
            "a gradient penalty needs whole weights and is silently wrong on sharded layers; unset "
            'it, or use "ddp".'
        )
    requested = os.environ.get("LT_PRECISION", precision)
    if requested != precision:
        raise SettingError(
            f"LT_PRECISION = {requested!r}, and train.precision = {precision!r}; unset it, or make "
            "them agree."
        )
    for name, number in (("LT_DEVICES", group.local), ("LT_NUM_NODES", group.nodes)):
        text = os.environ.get(name, "auto")
        count = text.count(",") + 1 if "," in text else text
        if count not in ("auto", number, str(number)):
            raise SettingError(
                f"{name} = {show(text)}, and the launcher announced {number}; unset it, and start "
                "with torchrun or fabric run."
            )
