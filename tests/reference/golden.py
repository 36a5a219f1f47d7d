"""Comparison of tensors with the summaries that the reference files hold."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from reference import rule

Arrays = Mapping[str, NDArray[np.float64]]


def check(
    npz: Arrays, name: str, tensor: ArrayLike, atol: float = 1e-4, rtol: float = 1e-4
) -> None:
    """Compare a tensor with the summary under `name` (shape, mean, std, sampled values)."""
    got = np.asarray(tensor, dtype=np.float64)
    assert tuple(npz[f"{name}/shape"]) == got.shape, name
    want = npz[f"{name}/values"]
    sampled = got.reshape(-1)[rule.sample_index(name, got.size, want.size)]
    np.testing.assert_allclose(sampled, want, rtol=rtol, atol=atol, err_msg=name)
    moments = [npz[f"{name}/mean"], npz[f"{name}/std"]]
    np.testing.assert_allclose([got.mean(), got.std()], moments, rtol=1e-3, atol=atol, err_msg=name)


def digest(state_dict: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """Sum and sum of magnitudes over all tensors; compare with `npz["digest"]` (rtol 1e-9)."""
    arrays = [np.asarray(value, dtype=np.float64) for value in state_dict.values()]
    return np.array([sum(a.sum() for a in arrays), sum(np.abs(a).sum() for a in arrays)])


def match_boxes(
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    golden_boxes: NDArray[np.float64],
    golden_labels: NDArray[np.int64],
    golden_scores: NDArray[np.float64],
    tol_px: float = 0.05,
    tol_score: float = 1e-4,
) -> tuple[int, int, int]:
    """Comparison of detections without order: numbers matched, wanted and found."""
    used = np.zeros(len(boxes), bool)
    matched = 0
    for box, label, score in zip(golden_boxes, golden_labels, golden_scores, strict=True):
        near = (np.abs(boxes - box).max(1) < tol_px) & (np.abs(scores - score) < tol_score)
        free = np.flatnonzero(~used & (labels == label) & near)
        if free.size:
            used[free[0]] = True
            matched += 1
    return matched, len(golden_boxes), len(boxes)
