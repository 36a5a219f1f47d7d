"""What every backbone states about itself: the contract that heads and layer decay rely on."""

from typing import Literal, NamedTuple

from torch import Tensor, nn

LayerScheme = Literal["layer_wise", "stage_wise"]


class FeatureInfo(NamedTuple):
    """One feature map of a backbone: its channels, and its stride in pixels of the input."""

    channels: int
    stride: int


class Backbone(nn.Module):
    """Base class of all backbones of `create_backbone`.

    A base class and not a protocol: from Python 3.12 on, `isinstance` with a protocol does not
    find the submodules and parameters of an `nn.Module`.

    Attributes:
        feature_info: channels and stride of each feature map, finest first.
        num_features: channels of the pooled features.
        num_classes: outputs of the head; 0 without one.
        classifier: prefixes of the names of the parameters that depend on the classes.
    """

    feature_info: tuple[FeatureInfo, ...]
    num_features: int
    num_classes: int
    classifier: tuple[str, ...]

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits (N, num_classes), or pooled features (N, num_features) if num_classes is 0.

        Built with `features`: the maps of `forward_stages`.
        """
        raise NotImplementedError

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Feature maps (N, C, H, W), finest first."""
        raise NotImplementedError

    def layer_ids(self, scheme: LayerScheme, num_layers: int = 12) -> dict[str, int]:
        """Layer number of every parameter by name, 0 to `num_layers` + 1."""
        raise NotImplementedError

    def no_weight_decay(self) -> frozenset[str]:
        """Names of parameters that are not decayed, beside vectors and learned positions."""
        return frozenset()
