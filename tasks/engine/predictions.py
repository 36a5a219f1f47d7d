"""What a classifier predicts: the one way from its logits to a class and a confidence."""

import torch
from torch import Tensor

NO_PREDICTION = -1
"""Predicted class where a logit is no number."""


def predictions(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The predicted classes, and how sure the model is of them.

    Args:
        logits: (N, classes); minus infinity for a class that the model cannot name.

    Returns:
        Class (N,), int64, `NO_PREDICTION` where the logits give no probabilities, which is wrong
        whatever the truth; and its probability (N,), float32, 0 without a prediction.
    """
    broken = torch.isnan(logits).any(1) | torch.isposinf(logits).any(1)
    broken |= torch.isneginf(logits).all(1)
    confidence, predicted = logits.softmax(1).max(1)
    return predicted.masked_fill(broken, NO_PREDICTION), confidence.masked_fill(broken, 0).float()
