"""Deterministic pseudo-random tensors for the reference data.

`tensor_for(key, shape)` depends on key and shape only: 64-bit words of PCG64, seeded with the
key's crc32 (a bit stream that numpy guarantees), become normals by Box-Muller in float64.
"""

import math
import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_POSITIONS = re.compile(r"stages\.(\d+)\.\d+\.dwconv\.P$")
_HEADS = ("decode_head.", "auxiliary_head.", "roi_head.", "rpn_head.")
# Gain of a weight, by the end of its key; the heads have a gain of their own.
_GAINS = {"fc_cls.weight": 3.0, "fc_reg.weight": 1.0, "rpn_reg.weight": 0.3, "rpn_cls.weight": 0.3}


def _words(seed_key: str, count: int) -> NDArray[np.uint64]:
    return np.random.PCG64(zlib.crc32(seed_key.encode())).random_raw(count).astype(np.uint64)


def normals(seed_key: str, count: int) -> Floats:
    """`count` standard normals seeded by crc32 of `seed_key`."""
    half = (count + 1) // 2
    uniforms = (_words(seed_key, 2 * half) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    first, second = 1.0 - uniforms[:half], uniforms[half:]  # first lies in (0, 1]
    radius = np.sqrt(-2.0 * np.log(first))
    pairs = [radius * np.cos(2 * np.pi * second), radius * np.sin(2 * np.pi * second)]
    return np.concatenate(pairs)[:count]


def seed_key_for(key: str) -> str:
    """The key without its block number if it names positions: a stage's blocks share them."""
    return _POSITIONS.sub(lambda match: f"stages.{match.group(1)}.shared.dwconv.P", key)


def tensor_for(key: str, shape: Sequence[int]) -> NDArray[np.float32] | NDArray[np.int64]:
    """Tensor for a full state-dict key (with its backbone., decode_head., ... prefix).

    float32, but int64 zeros for `num_batches_tracked`.
    """
    shape = tuple(int(size) for size in shape)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    z = normals(seed_key_for(key), math.prod(shape)).reshape(shape)
    return _scaled(key, z).astype(np.float32)


def _scaled(key: str, z: Floats) -> Floats:
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "weight":
        return 1.0 + 0.1 * z if z.ndim == 1 else _weight(key, z)  # one dimension: norm layers
    if leaf == "bias":
        out = 0.05 * z
        if key.endswith("fc_cls.bias"):  # the last class is the background
            out[-1] += 6.5
        return out
    by_leaf: dict[str, Callable[[Floats], Floats]] = {
        "P": lambda z: np.clip(2.0 * z, -8.0, 8.0),
        "gamma": lambda z: 0.5 + 0.1 * z,
        "running_mean": lambda z: 0.1 * z,
        "running_var": lambda z: np.exp(0.2 * z),
    }
    return by_leaf[leaf](z)


def _weight(key: str, z: Floats) -> Floats:
    transposed = key.endswith("upsample.weight")  # ConvTranspose2d: (in, out, 2, 2)
    fan_in = z.shape[0] if transposed else math.prod(z.shape[1:])
    ends = [gain for end, gain in _GAINS.items() if key.endswith(end)]
    gain = ends[0] if ends else 1.4 if key.startswith(_HEADS) else 1.0
    out: Floats = gain * z / np.sqrt(fan_in)
    if key.startswith("roi_head."):  # zero mean over the inputs: regions differ more
        out = out - out.mean(axis=0 if transposed else tuple(range(1, z.ndim)), keepdims=True)
    return out


def image_for(name: str, height: int, width: int) -> NDArray[np.float32]:
    """Already normalised network input (3, H, W): blocks of 32, blocks of 8, and pixels."""

    def blocks(tag: str, size: int) -> Floats:
        rows, columns = -(-height // size), -(-width // size)
        z = normals(f"image.{name}.{height}x{width}.{tag}", 3 * rows * columns)
        grid = z.reshape(3, rows, columns).repeat(size, 1).repeat(size, 2)
        return grid[:, :height, :width]

    image = 1.0 * blocks("s32", 32) + 0.7 * blocks("s8", 8) + 0.5 * blocks("s1", 1)
    return image.astype(np.float32)


def labels_for(
    name: str, height: int, width: int, num_classes: int, ignore: int = 255
) -> NDArray[np.int64]:
    """Label map (H, W) in blocks of 16, of which about 10 % are `ignore`."""
    rows, columns = -(-height // 16), -(-width // 16)
    words = _words(f"labels.{name}.{height}x{width}", rows * columns)
    labels = (words % np.uint64(num_classes)).astype(np.int64)
    labels[(words >> np.uint64(32)) % np.uint64(10) == 0] = ignore
    return labels.reshape(rows, columns).repeat(16, 0).repeat(16, 1)[:height, :width]


def sample_index(name: str, numel: int, count: int = 64) -> NDArray[np.int64]:
    """Flat (C-order) indices of the sampled values of a tensor with `numel` elements."""
    return (_words(f"sample.{name}.{numel}", count) % np.uint64(numel)).astype(np.int64)
