"""The one implementation behind all layers, for any number of dimensions."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcls.arguments import (
    Size,
    check_channels,
    check_padding_mode,
    per_axis,
    warn_of_implicit_gemm,
)
from dcls.depthwise import depthwise_conv2d
from dcls.errors import LayerArgumentError
from dcls.interpolation import INITIAL_WIDTH, WIDTH_VERSIONS, check_version, position_limits
from dcls.kernel import construct_kernel, symmetric_crop
from dcls.kernel_cache import KernelCache, can_be_kept
from dcls.positions import ParameterRole, PositionedLayer

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class DclsNd(PositionedLayer):
    """Convolution with `kernel_count` points per kernel at learned, real positions.

    The points are spread over the cells of a dense kernel of `dilated_kernel_size`, with which
    the input is then convolved. Positions count from the cell `size // 2` and are kept within
    +-(size // 2) of the axis they act on by `clamp_positions()`, to be called after each
    optimizer step.

    Rows of `P` act on the kernel's axes in the order of the released weights: with `v0` in two
    dimensions they are (y, x), with the other versions (x, y); in three dimensions axes (0, 2, 1)
    with `v0`, else (2, 1, 0). Non-square kernels of `v1`, `max` and `gauss` differ from the
    authors' package on purpose: there the centre and the limit of a row come from the axis of the
    same number, here from the axis that the row acts on. Square kernels agree.

    In evaluation without gradients the kernel is kept and made anew only when a parameter, its
    type or its device changes, or training begins (see `KernelCache`).

    The kernel is computed in float32 (or float64), inside autocast too, and cast to the input's
    dtype, so half-precision inputs work with or without autocast.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_count: points per kernel, n.
        stride: step of the convolution, one number or one per axis.
        padding: cells added on both sides of each axis.
        dilated_kernel_size: cells of the dense kernel along each learned axis.
        groups: blocks of connections between input and output channels.
        bias: whether a bias is learned.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        version: interpolation, "v0", "v1", "max" or "gauss" (see `dcls.interpolation`).
        use_implicit_gemm: accepted for the authors' sake and ignored, with one warning.

    Attributes:
        weight: (out, in / groups, n).
        P: (axes, out, in / groups, n), positions in cells.
        SIG: as `P`, raw widths in cells (`max`, `gauss`), otherwise None.
        bias: (out,) or None.
        kernel_size: spatial size of the dense kernel.

    Shapes:
        input (N, in, *spatial) or (in, *spatial), output (N, out, *spatial') as in `nn.ConvNd`.

    Raises:
        LayerArgumentError: arguments that do not fit together.
    """

    spatial_ndim: ClassVar[int]
    learned_ndim: ClassVar[int]
    dense_ndim: ClassVar[int] = 0
    special_parameters: ClassVar[dict[str, ParameterRole]] = {
        # arXiv 2306.00817 treats widths as positions: five times the rate, no decay.
        "P": ParameterRole(lr_scale=5.0, weight_decay=False),
        "SIG": ParameterRole(lr_scale=5.0, weight_decay=False),
    }

    P: nn.Parameter
    SIG: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        stride: Size = 1,
        padding: Size = 0,
        dilated_kernel_size: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        version: str = "gauss",
        use_implicit_gemm: bool | None = None,
        *,
        dense_kernel_size: Size = (),
    ) -> None:
        super().__init__()
        if use_implicit_gemm is not None:
            warn_of_implicit_gemm()
        check_version(version)
        check_channels(in_channels, out_channels, groups)
        if kernel_count < 1:
            raise LayerArgumentError(f"kernel_count={kernel_count}; set it to 1 or more")
        check_padding_mode(padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_count = kernel_count
        self.stride = per_axis("stride", stride, self.spatial_ndim, minimum=1)
        self.padding = per_axis("padding", padding, self.spatial_ndim, minimum=0)
        self.dilated_kernel_size = per_axis(
            "dilated_kernel_size", dilated_kernel_size, self.learned_ndim, minimum=1
        )
        self.dense_kernel_size = per_axis(
            "dense_kernel_size", dense_kernel_size, self.dense_ndim, minimum=1
        )
        self.groups = groups
        self.padding_mode = padding_mode
        self.version = version
        points = (out_channels, in_channels // groups, *self.dense_kernel_size, kernel_count)
        self.weight = nn.Parameter(torch.empty(points))
        self.P = nn.Parameter(torch.empty(self.learned_ndim, *points))
        widths = torch.empty(self.learned_ndim, *points) if version in WIDTH_VERSIONS else None
        self.register_parameter("SIG", None if widths is None else nn.Parameter(widths))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_channels)) if bias else None)
        self._kept = KernelCache()
        self.given_kernel: Tensor | None = None
        self.reset_parameters()

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Spatial size of the dense kernel, one number per spatial axis."""
        return self.dense_kernel_size + self.dilated_kernel_size

    def reset_parameters(self) -> None:
        """Draw fresh parameters: weights as `nn.ConvNd` does, positions N(0, 0.5) cells."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)
        with torch.no_grad():
            for row, limit in zip(self.P, self._position_limits(), strict=True):
                self._draw_positions(row, limit)
        if self.SIG is not None:
            nn.init.constant_(self.SIG, INITIAL_WIDTH[self.version])

    def _draw_positions(self, row: Tensor, limit: int) -> None:
        row.normal_(0, 0.5).clamp_(-limit, limit)

    def _position_limits(self) -> tuple[int, ...]:
        return position_limits(self.version, self.dilated_kernel_size)

    @torch.no_grad()
    def clamp_positions(self) -> None:
        """Clamp each row of `P`, in place, to half the size of the kernel axis it acts on."""
        for row, limit in zip(self.P, self._position_limits(), strict=True):
            row.clamp_(-limit, limit)

    def clamp_parameters(self) -> None:
        """Do as `clamp_positions()`, under the name it has in the authors' package."""
        self.clamp_positions()

    def construct_kernel(self) -> Tensor:
        """Dense kernel (out, in / groups, *kernel_size), float32 or float64."""
        return construct_kernel(
            self.weight, self.P, self.SIG, self.dilated_kernel_size, self.version
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x` (N, in, *spatial) with the constructed kernel."""
        kernel = self._kernel(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.is_same_depthwise:  # here alone the kernel may be cropped
            if x.dim() == 4:
                return depthwise_conv2d(x, kernel, bias)
            return depthwise_conv2d(x.unsqueeze(0), kernel, bias).squeeze(0)
        padding = self.padding
        if self.padding_mode != "zeros":
            both_sides = [cells for cells in reversed(padding) for _ in range(2)]
            x = F.pad(x, both_sides, mode=self.padding_mode)
            padding = (0,) * self.spatial_ndim
        convolution = _CONVOLUTIONS[self.spatial_ndim]
        return convolution(x, kernel, bias, self.stride, padding, 1, self.groups)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation, on which a kept kernel is forgotten."""
        if mode != self.training:
            self._kept.clear()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but the kept kernel."""
        return self.__dict__ | {"_kept": KernelCache(), "given_kernel": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what a copy or pickle holds; older ones know of no kept kernel."""
        super().__setstate__({"_kept": KernelCache(), "given_kernel": None} | state)  # type: ignore[no-untyped-call]

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._kept.clear()  # moved to another device, a layer must not hold memory of the last one
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _kernel(self, dtype: torch.dtype) -> Tensor:
        parameters = [p for p in (self.weight, self.P, self.SIG) if p is not None]
        given = self.given_kernel
        if given is not None:
            return given.to(dtype)
        if not self.keeps_kernel(parameters):
            return self.construct_kernel().to(dtype)
        return self._kept.kernel(parameters, dtype, self._smallest_kernel)

    def keeps_kernel(self, parameters: Sequence[Tensor]) -> bool:
        """Whether the next kernel, made of these, is kept for the calls after it."""
        return not self.training and can_be_kept(parameters)

    def _smallest_kernel(self) -> Tensor:
        """The kernel without the border in which no point acts, where padding follows from it."""
        kernel = self.construct_kernel()
        return (
            symmetric_crop(kernel, self.padding).contiguous() if self.is_same_depthwise else kernel
        )

    @property
    def is_same_depthwise(self) -> bool:
        """Whether `depthwise_conv2d` computes exactly this convolution."""
        return (
            self.spatial_ndim == 2
            and self.in_channels == self.out_channels == self.groups
            and self.stride == (1, 1)
            and self.padding_mode == "zeros"
            and all(cells % 2 == 1 for cells in self.kernel_size)
            and self.padding == tuple(cells // 2 for cells in self.kernel_size)
        )

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults, for `repr`."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_count={self.kernel_count}",
            f"kernel_size={self.kernel_size}, version={self.version}",
        ]
        if set(self.stride) != {1}:
            parts.append(f"stride={self.stride}")
        if set(self.padding) != {0}:
            parts.append(f"padding={self.padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)
