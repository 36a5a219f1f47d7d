"""The network: mmsegmentation's `EncoderDecoder` around a backbone of `dcls`."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dcls
from tasks.engine.trained import backbone_settings
from tasks.errors import SettingError
from tasks.segmentation.fusion import FusedUPerHead
from tasks.segmentation.heads import AUXILIARY_WEIGHT, CLASSIFIER_STD, Settings, complete_head
from tasks.segmentation.openmmlab import MODELS, EncoderDecoder, PixelData, SegDataSample
from tasks.segmentation.windows import slide_bands

_FASTER = {"UPerHead": FusedUPerHead}
"""Heads that compute the same as mmsegmentation's of that name, faster."""
IGNORED = 255
"""Label of pixels that belong to no class."""


class Segmenter(EncoderDecoder):  # type: ignore[misc] # mmsegmentation has no types
    """A backbone with heads of mmsegmentation; state-dict keys are mmsegmentation's.

    Args:
        backbone: built with `features=True`.
        num_classes: classes of the dataset.
        decode_head: settings of the head whose logits count (see `complete_head`).
        auxiliary_head: settings of a head that only helps training, or None.
        classifier_std: of the initial weights of each head's last layer.

    Raises:
        SettingError: mmsegmentation cannot build a head from its settings.
    """

    def __init__(
        self,
        backbone: dcls.Backbone,
        num_classes: int,
        decode_head: Settings,
        auxiliary_head: Settings | None = None,
        classifier_std: float = CLASSIFIER_STD,
    ) -> None:
        maps = backbone.feature_info
        head, auxiliary = (
            settings and _faster(complete_head(settings, maps, num_classes, weight, classifier_std))
            for settings, weight in ((decode_head, 1.0), (auxiliary_head, AUXILIARY_WEIGHT))
        )
        try:
            with warnings.catch_warnings():
                # The mean over ignored pixels too is what was published, and what we want.
                warnings.filterwarnings("ignore", message=".*avg_non_ignore.*")
                super().__init__(
                    backbone={"type": _as_given, "module": backbone},
                    decode_head=head,
                    auxiliary_head=auxiliary,
                )
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            raise SettingError(
                f"mmsegmentation cannot build task.decode_head={dict(decode_head)} with "
                f"task.auxiliary_head={auxiliary_head and dict(auxiliary_head)}: {error}"
            ) from error
        for part in (self.decode_head, getattr(self, "auxiliary_head", None)):
            if part is not None and not next(part.parameters()).is_meta:
                part.init_weights()

    def _forward(self, inputs: Tensor, _data_samples: object = None) -> Tensor:
        """Logits (N, C, H, W) at the size of the images (N, 3, H, W), normalised.

        What calling the module gives, as mmsegmentation does under the name `mode="tensor"`.
        """
        shape = {"img_shape": inputs.shape[2:]}
        logits: Tensor = self.encode_decode(inputs, [shape] * len(inputs))
        return logits

    def slide(
        self, images: Tensor, crop: int = 512, stride: int = 341, window_batch: int = 2
    ) -> Tensor:
        """Logits (N, C, H, W) by a sliding window: the mean where windows overlap.

        Args:
            images: (N, 3, H, W), normalised.
            crop: side of the window in pixels.
            stride: its step.
            window_batch: windows of each image computed at a time.
        """
        return torch.cat(list(slide_bands(self, images, crop, stride, window_batch)), 2)

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The losses of all heads, by mmsegmentation's names; their sum is what to minimise.

        Cross-entropy is the mean over all pixels, ignored ones counted, as in mmsegmentation.

        Args:
            images: (N, 3, H, W), normalised.
            labels: (N, H, W), int64, `IGNORED` where there is no class.
        """
        samples = [_sample(label) for label in labels]
        everything: dict[str, Tensor] = self.loss(images, samples)
        return {name: value for name, value in everything.items() if "loss" in name}


def upernet(
    backbone_name: str,
    num_classes: int,
    weights: str | Path | None = None,
    channels: int | None = None,
    auxiliary_channels: int | None = None,
    **settings: Any,
) -> Segmenter:
    """UPerNet with an FCN auxiliary head on any backbone of `dcls`, as published.

    Args:
        backbone_name: see `dcls.list_backbones()`.
        num_classes: classes of the dataset (ADE20K: 150).
        weights: a segmentation checkpoint: the authors', Facebook's, mmsegmentation's, or our own.
            With one of our own runs, what is not given is as it was trained.
        channels: of the decode head; None: 512.
        auxiliary_channels: of the auxiliary head; None: 256.
        **settings: of the backbone (see `dcls.create_backbone`).

    Returns:
        A module in training mode: `module(images)` gives logits at the size of the images,
        `module.slide(images, crop=512, stride=341)` the same by a sliding window.

    Raises:
        dcls.CheckpointError: weights that do not fit.
    """
    own, trained = backbone_settings(weights, backbone_name, settings)
    auxiliary = trained.get("auxiliary_head", {"type": "FCNHead"})
    segmenter = Segmenter(
        dcls.create_backbone(**own),
        num_classes,
        _head("UPerHead", channels, trained.get("decode_head", {})),
        auxiliary and _head("FCNHead", auxiliary_channels, auxiliary),
    )
    if weights is not None:
        load_weights(segmenter, weights)
    return segmenter


def load_weights(segmenter: nn.Module, path: str | Path) -> None:
    """Load a checkpoint: the authors', Facebook's, mmsegmentation's, or our own; strict.

    Args:
        segmenter: a `Segmenter`, or a module with its parts.
        path: the file.

    Raises:
        dcls.CheckpointError: weights that do not fit.
    """
    dcls.load_model_checkpoint(segmenter, path, CLASSIFIER, shown=_shown_settings)


def _shown_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Widths of the heads, as their weights show them; empty if it is not a segmenter's."""
    if not any("decode_head." in key for key in state):
        return {}
    last = {head: f"{head}.conv_seg.weight" for head in ("decode_head", "auxiliary_head")}
    widths = {
        f"task.{head}.channels": value.shape[1]
        for head, end in last.items()
        for key, value in state.items()
        if key.endswith(end)
    }
    absent = not any("auxiliary_head." in key for key in state)
    return widths | ({"task.auxiliary_head": "null"} if absent else {})


def _head(kind: str, channels: int | None, trained: Settings) -> dict[str, Any]:
    """Settings of a head: those of training, if there are any, with the given width over them."""
    if trained.get("type", kind) != kind:
        raise SettingError(
            f"The weights were trained with a {trained['type']}, not with a {kind}. Load them with "
            "tasks.segmentation.task.SegmentationTask.load_from_checkpoint(path).segmenter."
        )
    return {**trained, "type": kind, **({} if channels is None else {"channels": channels})}


CLASSIFIER = "decode_head.conv_seg.weight"
"""The parameter whose first dimension is the number of classes, in most heads."""


def _faster(head: dict[str, Any]) -> dict[str, Any]:
    return {**head, "type": _FASTER.get(head["type"], head["type"])}


def _as_given(module: nn.Module) -> nn.Module:
    return module


def _sample(label: Tensor) -> Any:
    return SegDataSample(gt_sem_seg=PixelData(data=label[None]))


@MODELS.register_module("DclsBackbone", force=True)  # type: ignore[untyped-decorator]
def _registered_backbone(name: str, **settings: Any) -> nn.Module:
    """What ``backbone=dict(type="DclsBackbone", name="convnext_dcls_tiny")`` builds in mmseg."""
    return dcls.create_backbone(name, features=True, **settings)
