"""Dilated Convolution with Learnable Spacings: layers and backbones (arXiv 2112.03740)."""

from dcls.backbone import Backbone
from dcls.backbones import create_backbone, list_backbones, register_backbone
from dcls.checkpoint import LoadReport, load_checkpoint
from dcls.convnext import ConvNeXt
from dcls.depthwise import DepthwiseConv2d, depthwise_conv2d
from dcls.errors import (
    BackboneArgumentError,
    CheckpointError,
    DclsError,
    LayerArgumentError,
    UnknownBackboneError,
)
from dcls.fold import fold
from dcls.kernel import construct_kernel
from dcls.layers import Dcls1d, Dcls2_1d, Dcls2d, Dcls2dK1d, Dcls3_1d, Dcls3d
from dcls.model_checkpoint import load_model_checkpoint
from dcls.positions import clamp_positions, parameter_roles, repulsive_loss
from dcls.replace import plan_replacement, replace_convs

__all__ = [
    "Backbone",
    "BackboneArgumentError",
    "CheckpointError",
    "ConvNeXt",
    "Dcls1d",
    "Dcls2_1d",
    "Dcls2d",
    "Dcls2dK1d",
    "Dcls3_1d",
    "Dcls3d",
    "DclsError",
    "DepthwiseConv2d",
    "LayerArgumentError",
    "LoadReport",
    "UnknownBackboneError",
    "clamp_positions",
    "construct_kernel",
    "create_backbone",
    "depthwise_conv2d",
    "fold",
    "list_backbones",
    "load_checkpoint",
    "load_model_checkpoint",
    "parameter_roles",
    "plan_replacement",
    "register_backbone",
    "replace_convs",
    "repulsive_loss",
]
