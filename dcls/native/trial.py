"""A trial of compiled kernels: small cases, computed by plain Python too.

Without PyTorch, whose operations might be traced, cast or faked where the kernels are first used.
"""

import ctypes
import math
from itertools import product

NUMBER = ctypes.c_int64
CHANNELS, HEIGHT, WIDTH, SIDE = 3, 6, 5, 5
ROWS, COLUMNS = 2, 11
TOLERANCE = 1e-6


def agree(library: ctypes.CDLL) -> bool:
    """Whether every kernel gives what its formula gives."""
    return _convolutions_agree(library) and _perceptron_agrees(library)


def _convolutions_agree(library: ctypes.CDLL) -> bool:
    x = [float(i % 7) for i in range(CHANNELS * HEIGHT * WIDTH)]
    weight = [float(i % 5) for i in range(CHANNELS * SIDE * SIDE)]
    y, gradient = _floats([0.0] * len(x)), _floats([0.0] * len(weight))
    shape = (NUMBER * 7)(1, CHANNELS, HEIGHT, WIDTH, SIDE, SIDE, 0)
    library.dcls_depthwise(_floats(x), _floats(weight), None, y, shape, 1)
    library.dcls_depthwise_weight_gradient(_floats(x), _floats(x), gradient, shape, 1)
    wanted, lags = [0.0] * len(x), [0.0] * len(weight)
    for c, row, column, i, j in product(
        range(CHANNELS), range(HEIGHT), range(WIDTH), range(SIDE), range(SIDE)
    ):
        y0, x0 = row + i - SIDE // 2, column + j - SIDE // 2
        if 0 <= y0 < HEIGHT and 0 <= x0 < WIDTH:
            cell, tap = (c * HEIGHT + row) * WIDTH + column, (c * SIDE + i) * SIDE + j
            other = x[(c * HEIGHT + y0) * WIDTH + x0]
            wanted[cell] += weight[tap] * other
            lags[tap] += x[cell] * other
    return list(y) == wanted and list(gradient) == lags  # whole numbers: exact


def _perceptron_agrees(library: ctypes.CDLL) -> bool:
    values = [0.5 * (i - 10) for i in range(ROWS * COLUMNS)]
    bias = [0.25 * i for i in range(COLUMNS)]
    hidden, result = _floats(values), _floats([0.0] * len(values))
    library.dcls_bias_gelu(hidden, _floats(bias), ROWS, COLUMNS, 1)
    library.dcls_scaled_residual(
        _floats(values), _floats(bias), _floats(bias), hidden, result, ROWS, COLUMNS, 1
    )
    for i, value in enumerate(values):
        own = bias[i % COLUMNS]
        z = value + own
        gelu = 0.5 * z * (1 + math.erf(z / math.sqrt(2)))
        if not math.isclose(hidden[i], gelu, rel_tol=TOLERANCE, abs_tol=4 * TOLERANCE):
            return False
        if not math.isclose(result[i], gelu + own * z, rel_tol=TOLERANCE, abs_tol=8 * TOLERANCE):
            return False
    return True


def _floats(values: list[float]) -> "ctypes.Array[ctypes.c_float]":
    return (ctypes.c_float * len(values))(*values)
