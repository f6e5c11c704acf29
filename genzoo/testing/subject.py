"""A thing under test, and what every module must do whatever its kind."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Shape
from genzoo.errors import SettingError
from genzoo.registry.build import build, init_record, settings_of

N = 4
"""Examples in a batch, unless a check says otherwise."""
FLOAT = torch.zeros(())
"""On the CPU, in single precision."""


def no_inputs(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG001
    """For things that make up their own."""
    return ()


def no_outputs(thing: Any) -> dict[str, Tensor]:  # noqa: ARG001
    """For things whose results have no common form."""
    return {}


@dataclass(frozen=True)
class Subject:
    """A thing under test: each call makes it anew, and the same unless the seed differs.

    Arguments:
        maker: makes it for a shape.
        shape: what it is made for.
        inputs: what it is called with for a shape, on the device and in the dtype of a tensor.
        outputs: calls it with these: name -> tensor.
    """

    maker: Callable[[Shape], Any]
    shape: Shape = ()
    inputs: Callable[[Shape, Tensor], tuple[Tensor, ...]] = no_inputs
    outputs: Callable[..., dict[str, Tensor]] = no_outputs

    def __call__(self, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.maker(self.shape)

    def results(self, thing: Any, like: Tensor = FLOAT) -> dict[str, Tensor]:
        """All that it computes from made-up inputs, from one seed; finite."""
        torch.manual_seed(0)
        inputs = self.inputs(self.shape, like)
        torch.manual_seed(0)
        found = self.outputs(thing, *inputs)
        for name, value in found.items():
            demand(bool(value.isfinite().all()), f"{name} is not finite")
        return found


def demand(condition: bool, message: str) -> None:
    """Fail, saying what is broken, unless a condition holds."""
    if not condition:
        raise AssertionError(message)


def close(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], message: str) -> None:
    """Equal up to rounding, whose order an accelerator may change; not a number equals itself."""
    torch.testing.assert_close(
        dict(got), dict(expected), equal_nan=True, msg=lambda detail: f"{message}. {detail}"
    )


def check_seeds(subject: Subject) -> None:
    """The same seed gives the same weights and results."""
    close(
        dict(subject().state_dict()), dict(subject().state_dict()), "equal seeds give other weights"
    )
    close(subject.results(subject()), subject.results(subject()), "equal seeds give other results")


def check_config(subject: Subject) -> None:
    """Its configuration, as plain data, builds an equal architecture; that of an unregistered class, its settings."""
    thing = subject()
    try:
        table = json.dumps(thing.config)
    except SettingError:
        again = type(thing)(**settings_of(thing))
        demand(settings_of(again) == settings_of(thing), "what is rebuilt has other settings")
    else:
        again = build(json.loads(table), init_record(thing).kind)
        demand(
            json.dumps(again.config) == table,
            f"what is rebuilt has the config {again.config}, where it was {table}",
        )
    demand(repr(again) == repr(thing), f"what is rebuilt is {again!r}, not {thing!r}")
    sizes = [
        {name: tensor.shape for name, tensor in one.state_dict().items()} for one in (thing, again)
    ]
    demand(sizes[0] == sizes[1], "what is rebuilt has other parameters or buffers")


def check_state_dict(subject: Subject) -> None:
    """All that training changes is in the state dict: another that loads it gives the same results."""
    thing, other = subject(), subject(seed=1)
    subject.results(thing)  # losses may keep running statistics
    other.load_state_dict(thing.state_dict())
    message = "with the same state dict, another one gives other results"
    close(subject.results(other.eval()), subject.results(thing.eval()), message)


def check_deepcopy(subject: Subject) -> None:
    """A copy gives the same results."""
    thing = subject()
    close(
        subject.results(copy.deepcopy(thing)), subject.results(thing), "a copy gives other results"
    )


def check_float64(subject: Subject) -> None:
    """In double precision, results are so too."""
    for name, value in subject.results(subject().double(), FLOAT.double()).items():
        demand(
            value.dtype == torch.float64 or not value.is_floating_point(),
            f"{name} in float64 is {value.dtype}",
        )


def check_device(subject: Subject) -> None:
    """On an accelerator, results are there too."""
    device = torch.accelerator.current_accelerator()
    for name, value in subject.results(subject().to(device), FLOAT.to(device)).items():
        demand(
            value.device.type == getattr(device, "type", None),
            f"{name} on {device} is on {value.device}",
        )


def check_compile(subject: Subject) -> None:
    """What it computes compiles whole, without a graph break, and equals what is not compiled."""
    eager, twin = subject(), subject()
    expected = subject.results(eager)
    torch.compiler.reset()
    torch.manual_seed(0)
    inputs = subject.inputs(subject.shape, FLOAT)
    torch.manual_seed(0)
    got = torch.compile(subject.outputs, fullgraph=True, backend="eager")(twin, *inputs)
    close(got, expected, "compiled results differ")


EVERY_MODULE = (
    check_seeds,
    check_config,
    check_state_dict,
    check_deepcopy,
    check_float64,
    check_compile,
)
"""What is asked of each part that is a module."""
