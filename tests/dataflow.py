"""Compute with sets alone which inputs each output of a PixelRNN can depend on.

The layers follow the paper, and this module does not use genzoo. Feature maps are boolean arrays
(H, W, groups, C * H * W), true where a group of features at a pixel can depend on an input. The
order of the colors is red, green, blue.
"""

from collections.abc import Iterable

import numpy as np


def _masked_conv(below: np.ndarray, taps: Iterable[tuple[int, int]], strict: bool) -> np.ndarray:
    """Apply a masked convolution, which sees all groups of earlier pixels.

    At the current pixel, a group sees the groups before it, and itself unless `strict`.
    """
    height, width, groups, _ = below.shape
    out = np.zeros_like(below)
    for r, c, group in np.ndindex(height, width, groups):
        for down, right in taps:
            if not (0 <= r + down < height and 0 <= c + right < width):
                continue
            seen = below[r + down, c + right]
            if (down, right) == (0, 0):
                seen = seen[: group + (0 if strict else 1)]
            out[r, c, group] |= seen.any(axis=0)
    return out


def _square(kernel: int) -> list[tuple[int, int]]:
    """Return the taps of a square kernel at or before its center in raster order."""
    half = kernel // 2
    taps = [(down, right) for down in range(-half, half + 1) for right in range(-half, half + 1)]
    return [tap for tap in taps if tap <= (0, 0)]


def _everything(states: np.ndarray, r: int, c: int) -> np.ndarray:
    """Return the union of what the groups at a pixel depend on; nothing outside the image."""
    height, width, _, inputs = states.shape
    return (
        states[r, c].any(axis=0) if 0 <= r < height and 0 <= c < width else np.zeros(inputs, bool)
    )


def _row_lstm(below: np.ndarray) -> np.ndarray:
    """Apply a masked convolution of 3 along the row, and an unmasked one over the row above."""
    gates = _masked_conv(below, [(0, -1), (0, 0)], strict=False)
    states = np.zeros_like(below)
    for r, c, group in np.ndindex(below.shape[:3]):
        states[r, c, group] = gates[r, c, group]
        for right in (-1, 0, 1):
            states[r, c, group] |= _everything(states, r - 1, c + right)
    return states


def _diagonal(below: np.ndarray) -> np.ndarray:
    """Apply one direction of the diagonal LSTM.

    A state depends on a masked 1x1 convolution of the input, and on all groups of the states above
    and to the left.
    """
    gates = _masked_conv(below, [(0, 0)], strict=False)
    states = np.zeros_like(below)
    for r, c, group in np.ndindex(below.shape[:3]):
        states[r, c, group] = (
            gates[r, c, group] | _everything(states, r - 1, c) | _everything(states, r, c - 1)
        )
    return states


def _diagonal_bilstm(below: np.ndarray) -> np.ndarray:
    """Add both directions; the one from the right is mirrored, and its map moves down by a row."""
    states, mirrored = _diagonal(below), _diagonal(below[:, ::-1])[:, ::-1]
    # each group of one direction is added to the same group of the other
    states[1:] |= mirrored[:-1]
    return states


def _conv(below: np.ndarray) -> np.ndarray:
    return _masked_conv(below, _square(3), strict=False)


LAYERS = {"row-lstm": _row_lstm, "diagonal-bilstm": _diagonal_bilstm, "conv": _conv}


def support(layer: str, depth: int, shape: tuple[int, int, int], kernel: int = 7) -> np.ndarray:
    """Return which inputs each logit depends on, `(C * H * W, C * H * W)`.

    Rows and columns are in the order (c, h, w).
    """
    colors, height, width = shape
    inputs = np.zeros((height, width, colors, colors * height * width), bool)
    for r, c, group in np.ndindex(height, width, colors):
        inputs[r, c, group, (group * height + r) * width + c] = True
    features = _masked_conv(inputs, _square(kernel), strict=True)
    for _ in range(depth):
        # the 1x1 convolution after the layer, and the residual connection
        added = _masked_conv(LAYERS[layer](features), [(0, 0)], strict=False)
        features = features | added
    # the head; a second 1x1 convolution would not change the result
    out = _masked_conv(features, [(0, 0)], strict=False)
    return out.transpose(2, 0, 1, 3).reshape(colors * height * width, -1)


def past(shape: tuple[int, int, int]) -> np.ndarray:
    """Return which inputs come before each output: by pixel in raster order, then by color."""
    colors, height, width = shape
    number = (
        np.arange(height * width * colors).reshape(height, width, colors).transpose(2, 0, 1).ravel()
    )
    return number[:, None] > number[None, :]
