"""Torch's default generators, used by one thread at a time, seeded, and restored afterwards."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from genzoo.distributed.ranks import current, holders

__all__ = ["alone", "exclusive", "reseed", "seed_for"]


def seed_for(*key: object) -> int:
    """Return a seed that is a pure function of its key on every machine and in every process.

    Example:
        >>> seed_for(0, "critic", 12)
        8778608017679629815
    """
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


class _Turns:
    """A lock that serves waiting threads before the thread that has just released it."""

    def __init__(self) -> None:
        self.queue, self.lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self.queue:
            self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


class _Saved:
    """A default generator, its state before a section, and the seed that the section set last."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.state = generator.get_state()
        self.seed = generator.initial_seed()
        self.foreign_seed: int | None = None
        """The seed that another thread has set since then."""

    def check_foreign_seed(self) -> None:
        """Record a seed that another thread has set since then."""
        if self.generator.initial_seed() != self.seed and threading.active_count() > 1:
            self.foreign_seed = self.generator.initial_seed()

    def reseed(self, seed: int) -> None:
        """Seed the generator."""
        self.check_foreign_seed()
        self.generator.manual_seed(seed)
        self.seed = seed

    def restore(self) -> None:
        """Restore the state before the section, or the seed that another thread has set since."""
        self.check_foreign_seed()
        if self.foreign_seed is None:
            self.generator.set_state(self.state)
        else:
            self.generator.manual_seed(self.foreign_seed)


_turns = _Turns()
_saved: dict[torch.device, _Saved] = {}
_CPU = torch.device("cpu")


def _forget_threads() -> None:
    """Replace the lock in a forked process, which does not have the thread that may hold it."""
    global _turns
    _turns = _Turns()
    _saved.clear()
    holders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


@contextmanager
def alone() -> Iterator[None]:
    """Keep other threads of this process from drawing.

    Random states are not restored: this is for draws from the caller's random state.
    """
    position = current()
    with nullcontext() if position.depth else _turns:
        position.depth += 1
        is_outermost = position.depth == 1
        if is_outermost:
            holders.append(position)
        try:
            yield
        finally:
            position.depth -= 1
            if is_outermost:
                holders.clear()


@contextmanager
def exclusive(*devices: torch.device) -> Iterator[None]:
    """Keep other threads from drawing, and restore torch's default generators at the end.

    Code that seeds the generators does so within this context. So a thread that samples at the same
    time gets the numbers that it would get alone, even if it sets a seed. Contexts may be nested.

    Arguments:
        devices: the devices whose generators are restored, in addition to the CPU's and to those
            that `reseed` seeds.
    """
    global _saved
    with alone():
        outer, _saved = _saved, {}
        for device in (_CPU, *devices):
            _save(device)
        try:
            yield
        finally:
            for device, saved in _saved.items():
                saved.restore()
                # the outer section must restore this seed, too
                if device in outer and saved.foreign_seed is not None:
                    outer[device].foreign_seed = saved.foreign_seed
            _saved = outer


def reseed(device: torch.device, *key: object) -> None:
    """Seed torch's default generators, the CPU's and the device's, from a key, within `exclusive`.

    Raises:
        RuntimeError: the call is not within `exclusive`.
    """
    if not current().depth:
        raise RuntimeError("reseed outside of exclusive: the caller's random state would be lost.")
    for generator_device in dict.fromkeys((_CPU, device)):
        _save(generator_device).reseed(seed_for(*key))


def _save(device: torch.device) -> _Saved:
    """Save the state of a device's default generator unless this section has saved it."""
    if device not in _saved:
        _saved[device] = _Saved(_default_generator(device))
    return _saved[device]


def _default_generator(device: torch.device) -> torch.Generator:
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.cuda.default_generators[index]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    return torch.default_generator
