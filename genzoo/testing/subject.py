"""The object under test, and the checks of modules of every kind."""

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
from genzoo.registry.build import build
from genzoo.registry.records import init_record, settings_of

__all__ = [
    "EVERY_MODULE",
    "FLOAT",
    "N",
    "Subject",
    "check_compile",
    "check_config",
    "check_deepcopy",
    "check_device",
    "check_float64",
    "check_seeds",
    "check_state_dict",
    "close",
    "demand",
    "no_inputs",
    "no_outputs",
]

N = 4
"""The default number of examples in a batch."""
FLOAT = torch.zeros(())
"""A tensor with the default device and dtype: the CPU and single precision."""


def no_inputs(shape: Shape, like: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG001
    """Return no inputs, for objects that create them."""
    return ()


def no_outputs(thing: Any) -> dict[str, Tensor]:  # noqa: ARG001
    """Return no outputs, for objects whose results have no common form."""
    return {}


@dataclass(frozen=True)
class Subject:
    """The object under test. Each call with the same seed builds an equal object.

    Arguments:
        maker: shape -> the object.
        shape: the shape to build it for.
        inputs: shape, and a tensor with the device and dtype -> the inputs of `outputs`.
        outputs: the object and its inputs -> name -> tensor.
    """

    maker: Callable[[Shape], Any]
    shape: Shape = ()
    inputs: Callable[[Shape, Tensor], tuple[Tensor, ...]] = no_inputs
    outputs: Callable[..., dict[str, Tensor]] = no_outputs

    def __call__(self, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.maker(self.shape)

    def results(self, thing: Any, like: Tensor = FLOAT) -> dict[str, Tensor]:
        """Return everything that an object computes from random inputs, with a fixed seed."""
        torch.manual_seed(0)
        inputs = self.inputs(self.shape, like)
        torch.manual_seed(0)
        outputs = self.outputs(thing, *inputs)
        for name, value in outputs.items():
            demand(bool(value.isfinite().all()), f"{name} is not finite")
        return outputs


# The condition is positional, as in an `assert` statement.
def demand(condition: bool, message: str) -> None:  # noqa: FBT001
    """Raise an `AssertionError` with a message unless a condition holds."""
    if not condition:
        raise AssertionError(message)


def close(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], message: str) -> None:
    """Raise an `AssertionError` unless tensors are equal up to rounding; NaN equals NaN."""
    torch.testing.assert_close(
        dict(actual), dict(expected), equal_nan=True, msg=lambda detail: f"{message}. {detail}"
    )


def check_seeds(subject: Subject) -> None:
    """Check that equal seeds give equal weights and results."""
    close(
        dict(subject().state_dict()),
        dict(subject().state_dict()),
        "equal seeds give different weights",
    )
    close(
        subject.results(subject()), subject.results(subject()), "equal seeds give different results"
    )


def check_config(subject: Subject) -> None:
    """Check that its config, as plain data, builds an equal architecture again.

    An object of an unregistered class is built from its settings instead.
    """
    thing = subject()
    try:
        table = json.dumps(thing.config)
    except SettingError:
        again = type(thing)(**settings_of(thing))
        demand(settings_of(again) == settings_of(thing), "the rebuilt object has other settings")
    else:
        again = build(json.loads(table), init_record(thing).kind)
        demand(
            json.dumps(again.config) == table,
            f"the rebuilt object has the config {again.config}, but the original has {table}",
        )
    demand(repr(again) == repr(thing), f"the rebuilt object is {again!r}, not {thing!r}")
    sizes = [
        {name: tensor.shape for name, tensor in one.state_dict().items()} for one in (thing, again)
    ]
    demand(sizes[0] == sizes[1], "the rebuilt object has other parameters or buffers")


def check_state_dict(subject: Subject) -> None:
    """Check that the state dict is complete: an object that loads it gives the same results."""
    thing, other = subject(), subject(seed=1)
    # Losses may keep running statistics.
    subject.results(thing)
    other.load_state_dict(thing.state_dict())
    message = "with the same state dict, another object gives different results"
    close(subject.results(other.eval()), subject.results(thing.eval()), message)


def check_deepcopy(subject: Subject) -> None:
    """Check that a copy gives the same results."""
    thing = subject()
    close(
        subject.results(copy.deepcopy(thing)),
        subject.results(thing),
        "a copy gives different results",
    )


def check_float64(subject: Subject) -> None:
    """Check that results are in double precision if the object is."""
    for name, value in subject.results(subject().double(), FLOAT.double()).items():
        demand(
            value.dtype == torch.float64 or not value.is_floating_point(),
            f"{name} in float64 is {value.dtype}",
        )


def check_device(subject: Subject) -> None:
    """Check that results are on the accelerator if the object is."""
    device = torch.accelerator.current_accelerator()
    for name, value in subject.results(subject().to(device), FLOAT.to(device)).items():
        demand(
            value.device.type == getattr(device, "type", None),
            f"{name} on {device} is on {value.device}",
        )


def check_compile(subject: Subject) -> None:
    """Check that it compiles as a whole graph and then gives the same results."""
    eager, twin = subject(), subject()
    expected = subject.results(eager)
    torch.compiler.reset()
    torch.manual_seed(0)
    inputs = subject.inputs(subject.shape, FLOAT)
    torch.manual_seed(0)
    actual = torch.compile(subject.outputs, fullgraph=True, backend="eager")(twin, *inputs)
    close(actual, expected, "compiled results differ")


EVERY_MODULE = (
    check_seeds,
    check_config,
    check_state_dict,
    check_deepcopy,
    check_float64,
    check_compile,
)
"""The checks of every part that is a module."""
