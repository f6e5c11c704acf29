"""The formats of exported programs: trace a part of a model, write it, and run the file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genzoo.contract import Model
from genzoo.errors import GenzooError, RunError, SettingError, describe
from genzoo.weights.parts import Part, call, name_of

__all__ = ["SUFFIXES", "Format", "check_same", "require", "runner", "traced"]

Format = Literal["onnx", "torch-export"]
SUFFIXES: Mapping[str, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
_KEY, _FILE = "genzoo", "genzoo.json"
"""The key of the facts in the metadata of ONNX, and the extra file with them of torch.export."""
_TOLERANCE = 1e-5
"""The largest difference that is accepted, relative to the largest result if that is above 1."""
Inputs = Mapping[str, Tensor]


def require(to: Format, target: Path) -> None:
    """Check that the packages of a format are installed.

    Raises:
        GenzooError: one of them is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if to == "onnx" and missing:
        raise GenzooError(
            f"{target} needs {', '.join(missing)}; install the extra: pip install 'genzoo[onnx]'."
        )


class _Program(nn.Module):
    """A part of a model, as a module."""

    def __init__(self, model: Model, part: Part, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.part, self.names = model, part, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return call(self.model, self.part, dict(zip(self.names, inputs, strict=True)))


def traced(
    model: Model, part: Part, inputs: Inputs, to: Format, facts: Mapping[str, Any]
) -> Callable[[Path], None]:
    """Trace a part of a model, and return a function that writes it to a file.

    Arguments:
        model: the model.
        part: the part.
        inputs: an example of its inputs.
        to: the format.
        facts: the facts that the file holds about itself.

    Raises:
        SettingError: the part cannot be traced.
    """
    text = json.dumps(facts)
    try:
        with _quietly():
            program = _exported(model, part, inputs)
            if to == "torch-export":
                return lambda file: torch.export.save(program, file, extra_files={_FILE: text})
            converted = _as_onnx(program, inputs, facts)
    # a model of a plugin can fail in any way
    except Exception as error:
        raise SettingError(
            f"{part!r} of {name_of(model)!r} cannot be exported to {to}, because torch cannot "
            f"trace it ({describe(error)[:300]})."
        ) from error
    converted.model.metadata_props[_KEY] = text
    return lambda file: converted.save(file, external_data=False)


def _exported(model: Model, part: Part, inputs: Inputs) -> torch.export.ExportedProgram:
    """Trace a part, without weights that it does not use and without paths of source files."""
    program = torch.export.export(
        _Program(model, part, tuple(inputs)),
        tuple(inputs.values()),
        dynamic_shapes=_dynamic_shapes(inputs),
    )
    signature, graph = program.graph_signature, program.graph
    unused = [
        node
        for node in graph.nodes
        if node.op == "placeholder" and not node.users and node.name not in signature.user_inputs
    ]
    names = {node.name for node in unused}
    specs = signature.input_specs
    for spec in [spec for spec in specs if getattr(spec.arg, "name", None) in names]:
        specs.remove(spec)
        for tensors in (program.state_dict, program.constants):
            tensors.pop(spec.target, None)
    for node in unused:
        graph.erase_node(node)
    for node in graph.nodes:
        node.meta.pop("stack_trace", None)
    program.graph_module.recompile()
    return program


def _dynamic_shapes(inputs: Inputs) -> Any:
    """Return the shapes of the only argument, the tuple of all inputs: their first axis is free."""
    return (tuple({0: torch.export.Dim("batch")} for _ in inputs),)


def _as_onnx(
    program: torch.export.ExportedProgram, inputs: Inputs, facts: Mapping[str, Any]
) -> Any:
    """Return a program in the format ONNX."""
    converted: Any = torch.onnx.export(
        program,
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=list(facts["outputs"]),
        dynamic_shapes=_dynamic_shapes(inputs),
        verbose=False,
    )
    for node in converted.model.graph:
        node.metadata_props.clear()
    return converted


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the notes of torch's exporters, which are about torch."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def runner(file: Path, to: Format) -> Callable[[Inputs], Tensor]:
    """Return a function that runs a file with the library that its users run it with.

    Raises:
        RunError: the library cannot read the file.
    """
    if to == "torch-export":
        module = torch.export.load(file).module()
        return lambda inputs: module(*inputs.values())
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime derives its errors from Exception
        raise RunError(f"onnxruntime cannot read the program ({describe(error)[:300]}).") from error

    def run(inputs: Inputs) -> Tensor:
        arrays = {name: value.numpy() for name, value in inputs.items()}
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


def check_same(actual: Tensor, expected: Tensor, what: str) -> None:
    """Check the result of a file.

    Arguments:
        actual: the result of the file.
        expected: the result of the model.
        what: the file and the part, for the message.

    Raises:
        RunError: the results differ in shape, or by more than the tolerance.
    """
    if actual.shape != expected.shape:
        raise RunError(
            f"{what} was not exported: the program returns {tuple(actual.shape)}, and the model "
            f"{tuple(expected.shape)}."
        )
    largest = (actual - expected).abs().max().item()
    limit = _TOLERANCE * max(1.0, expected.abs().max().item())
    # also false for NaN
    if not largest <= limit:
        raise RunError(
            f"{what} was not exported: the program differs from the model by {largest:.1e}, more "
            f"than {limit:.1e}. Results that are random, or that rounding errors change by more, "
            "cannot be exported."
        )
