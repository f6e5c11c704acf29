"""Write small ONNX generators, field by field, so that tests need no exporter."""

import numpy as np

FLOAT = 1
"""The number of the type float32 in ONNX."""


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number, value):
    """Return a field of a protocol buffer: an integer, a text, or the bytes of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, array, kind=FLOAT):
    sizes = b"".join(field(1, size) for size in array.shape)
    return sizes + field(2, kind) + field(8, name) + field(9, array.tobytes())


def value(name, shape):
    """Return the declaration of an input or output; a free axis has a name."""
    axes = [field(1, axis) if isinstance(axis, int) else field(2, axis) for axis in shape]
    sizes = b"".join(field(1, axis) for axis in axes)
    kind = field(1, field(1, FLOAT) + field(2, sizes))
    return field(1, name) + field(2, kind)


def node(operator, inputs, output):
    parts = [field(1, name) for name in inputs]
    return b"".join([*parts, field(2, output), field(4, operator)])


def write_generator(path, weights, shape, *, noise, last="Sigmoid", more_inputs=(), facts=""):
    """Write the generator z -> last(flatten(z) @ weights), whose samples have a shape."""
    flat = np.array([-1, len(weights)], dtype=np.int64)
    samples = np.array([-1, *shape], dtype=np.int64)
    nodes = [
        node("Reshape", ["z", "flat"], "rows"),
        node("MatMul", ["rows", "weights"], "product"),
        node(last, ["product"], "values"),
        node("Reshape", ["values", "samples"], "x"),
    ]
    constants = [
        tensor("weights", weights.astype(np.float32)),
        tensor("flat", flat, 7),
        tensor("samples", samples, 7),
    ]
    graph = b"".join(field(1, one) for one in nodes) + field(2, "generator")
    graph += b"".join(field(5, one) for one in constants)
    for name, axes in (("z", noise), *more_inputs):
        graph += field(11, value(name, axes))
    graph += field(12, value("x", ("n", *shape)))
    metadata = field(14, field(1, "genzoo") + field(2, facts))
    path.write_bytes(field(1, 8) + field(8, field(2, 13)) + field(7, graph) + metadata)
    return path
