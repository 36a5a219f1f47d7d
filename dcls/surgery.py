"""Exchanging modules inside a model."""

from collections.abc import Mapping

from torch import nn


def swap_modules(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put each replacement where its key stands in `model`, in place.

    A module that stands in several places is replaced in all of them. Hooks registered on a
    replaced module go with it.

    Returns:
        `model`, or its replacement if the model itself is replaced.
    """
    for parent in list(model.modules()):
        # Not named_children(): that names a module only once.
        for name, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                setattr(parent, name, replacements[child])
    return replacements.get(model, model)
