"""Any timm model as a backbone."""

from collections.abc import Collection
from typing import Any, cast

from timm.models import group_parameters
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from dcls.backbone import Backbone, FeatureInfo, LayerScheme
from dcls.errors import DclsError

LAST_MAPS = 4


class TimmBackbone(Backbone):
    """A timm model with the interface of this package's backbones.

    Feature maps are as timm gives them, without an added norm; a plain vision transformer's have
    all the same stride (see `feature_info`).

    Args:
        model: from `timm.create_model`.
        features: calling the module gives the maps of `forward_stages`.

    Attributes:
        feature_info: channels and stride of the last four feature maps, fewer if there are fewer.
        num_features: channels of the pooled features.
        num_classes: outputs of the head.
        classifier: prefixes of the names of the parameters that depend on the classes.
    """

    def __init__(self, model: nn.Module, features: bool = False) -> None:
        super().__init__()
        self.model = model
        self.features = features
        timm_model = cast(Any, model)
        self.num_features: int = getattr(timm_model, "head_hidden_size", timm_model.num_features)
        self.num_classes: int = timm_model.num_classes
        self.feature_info = tuple(
            FeatureInfo(info["num_chs"], info["reduction"])
            for info in getattr(timm_model, "feature_info", ())[-LAST_MAPS:]
        )
        names = timm_model.default_cfg.get("classifier") or ()
        names = (names,) if isinstance(names, str) else names
        self.classifier: tuple[str, ...] = tuple(f"model.{name}." for name in names)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits (N, num_classes); pooled features if num_classes is 0; maps with `features`."""
        if self.features:
            return self.forward_stages(x)
        logits: Tensor = self.model(x)
        return logits

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The last feature maps (N, C, H, W), finest first.

        Raises:
            DclsError: if the model cannot give intermediate maps.
        """
        if not hasattr(self.model, "forward_intermediates") or not self.feature_info:
            raise DclsError(
                f"timm's {type(self.model).__name__} gives no feature maps; choose a backbone "
                "with forward_intermediates, such as timm/resnet50 or any convnext."
            )
        maps: list[Tensor] = cast(Any, self.model).forward_intermediates(
            x, indices=len(self.feature_info), intermediates_only=True
        )
        return maps

    def layer_ids(self, scheme: LayerScheme, num_layers: int = 12) -> dict[str, int]:
        """Layer number of every parameter, timm's own grouping spread over 0 to `num_layers` + 1.

        The scheme only chooses between timm's fine (`layer_wise`) and coarse groups.
        """
        matcher = cast(Any, self.model).group_matcher(coarse=scheme == "stage_wise")
        groups: dict[str, int] = group_parameters(self.model, matcher, reverse=True)
        last = max(groups.values()) or 1
        return {
            f"model.{name}": round(group / last * (num_layers + 1))
            for name, group in groups.items()
        }

    def no_weight_decay(self) -> frozenset[str]:
        """Parameters that timm does not decay.

        Its vectors and biases, and what the model names: position embeddings, class tokens, tables
        of relative positions, logit scales.
        """
        named: Collection[str] = getattr(self.model, "no_weight_decay", frozenset)()
        groups = param_groups_weight_decay(self.model, 1.0, no_weight_decay_list=named)
        exempt = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
        return frozenset(
            f"model.{name}" for name, p in self.model.named_parameters() if id(p) in exempt
        )
