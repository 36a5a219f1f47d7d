"""Heads of mmsegmentation from short settings: what is not said is as published."""

from collections.abc import Mapping, Sequence
from typing import Any

from dcls.backbone import FeatureInfo
from tasks.errors import SettingError

Settings = Mapping[str, Any]

PUBLISHED: dict[str, dict[str, Any]] = {
    "UPerHead": {
        "in_index": [0, 1, 2, 3],
        "pool_scales": (1, 2, 3, 6),
        "channels": 512,
        "dropout_ratio": 0.1,
    },
    "FCNHead": {
        "in_index": 2,
        "channels": 256,
        "num_convs": 1,
        "concat_input": False,
        "dropout_ratio": 0.1,
    },
}
"""UPerNet-ConvNeXt's decode head and its auxiliary head (arXiv 2201.03545, 2112.03740)."""
AUXILIARY_WEIGHT = 0.4
"""Factor of the auxiliary head's loss, likewise."""


CLASSIFIER_STD = 0.01
"""Standard deviation of the initial weights of a head's last layer, likewise."""


def complete_head(
    settings: Settings,
    maps: Sequence[FeatureInfo],
    num_classes: int,
    loss_weight: float = 1.0,
    classifier_std: float = CLASSIFIER_STD,
) -> dict[str, Any]:
    """Configuration of an mmsegmentation head, completed from the backbone and the classes.

    Args:
        settings: `type`, a head of mmsegmentation's registry, and any of its arguments.
        maps: the backbone's feature maps, from which `in_channels` follows.
        num_classes: classes of the dataset.
        loss_weight: factor of its cross-entropy, unless `loss_decode` is given.
        classifier_std: of the initial weights of its last layer, unless `init_cfg` is given.

    Raises:
        SettingError: no type, or a map that the backbone does not have.
    """
    if "type" not in settings:
        raise SettingError(
            f"task.decode_head or task.auxiliary_head has no type but {dict(settings)}; set "
            "task.decode_head.type=UPerHead, or another head of mmsegmentation."
        )
    head = {**PUBLISHED.get(settings["type"], {}), **settings}
    index = head.setdefault("in_index", len(maps) - 1)
    chosen = [index] if isinstance(index, int) else list(index)
    if not all(-len(maps) <= i < len(maps) for i in chosen):
        raise SettingError(
            f"in_index={index} of {head['type']} asks for a feature map that the backbone does not "
            f"have: it has {len(maps)}, numbered from 0."
        )
    channels = [maps[i].channels for i in chosen]
    head.setdefault("in_channels", channels[0] if isinstance(index, int) else channels)
    # Plain batch norm: the trainer turns it into the synchronised kind (trainer.sync_batchnorm).
    head.setdefault("norm_cfg", {"type": "BN", "requires_grad": True})
    head.setdefault(
        "loss_decode",
        {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": loss_weight},
    )
    last_layer = {"type": "Normal", "std": classifier_std, "override": {"name": "conv_seg"}}
    head.setdefault("init_cfg", last_layer)
    return {
        "align_corners": False,
        **head,
        "num_classes": num_classes,
        "out_channels": num_classes,
    }
