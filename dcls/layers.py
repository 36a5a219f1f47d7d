"""Convolutions whose kernel points have learned positions, in one, two and three dimensions.

Dilated Convolution with Learnable Spacings: arXiv 2112.03740 (bilinear), arXiv 2306.00817
(triangle and Gaussian). The constructor arguments and the names, shapes and initial values of the
parameters are those of the authors' package `dcls` 0.1.1, so state dicts go both ways. What all
layers have in common stands at `DclsNd`.
"""

from torch import Tensor

from dcls.arguments import Size
from dcls.errors import LayerArgumentError
from dcls.ndlayer import DclsNd

__all__ = ["Dcls1d", "Dcls2_1d", "Dcls2d", "Dcls2dK1d", "Dcls3_1d", "Dcls3d", "DclsNd"]


class Dcls1d(DclsNd):
    """`DclsNd` over sequences (N, in, L); positions along L."""

    spatial_ndim = 1
    learned_ndim = 1


class Dcls2d(DclsNd):
    """`DclsNd` over images (N, in, H, W); positions along H and W."""

    spatial_ndim = 2
    learned_ndim = 2


class Dcls3d(DclsNd):
    """`DclsNd` over volumes (N, in, D, H, W); positions along D, H and W."""

    spatial_ndim = 3
    learned_ndim = 3


class _DenseThenLearned(DclsNd):
    """`DclsNd` whose kernel is dense along the first axes and learned along the last one."""

    learned_ndim = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        stride: Size = 1,
        padding: Size = 0,
        dense_kernel_size: Size = 1,
        dilated_kernel_size: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        version: str = "gauss",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            dilated_kernel_size,
            groups,
            bias,
            padding_mode,
            version,
            dense_kernel_size=dense_kernel_size,
        )

    def _draw_positions(self, row: Tensor, limit: int) -> None:
        row.uniform_(-limit, limit)


class Dcls2_1d(_DenseThenLearned):  # noqa: N801 - the name in the family
    """Two-dimensional convolution, dense along H (`dense_kernel_size`), learned along W.

    `weight` is (out, in / groups, d0, n) and `P` (1, out, in / groups, d0, n); positions start
    uniform over the kernel. The counterpart of `Dcls3_1d`; the authors' package has none.
    """

    spatial_ndim = 2
    dense_ndim = 1


class Dcls3_1d(_DenseThenLearned):  # noqa: N801 - the name users import
    """Three-dimensional convolution, dense along the first two axes, learned along the last.

    `weight` is (out, in / groups, d0, d1, n) and `P` (1, out, in / groups, d0, d1, n); positions
    start uniform over the kernel. `v0` works too, which the authors' package leaves out.
    """

    spatial_ndim = 3
    dense_ndim = 2


class Dcls2dK1d(DclsNd):
    """Two-dimensional convolution with a flat kernel: learned along one axis, one cell wide.

    `flat_dim=0` gives kernels (K, 1), `flat_dim=1` kernels (1, K). The default version is `v1`.
    """

    spatial_ndim = 2
    learned_ndim = 1

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
        version: str = "v1",
        flat_dim: int = 0,
    ) -> None:
        if flat_dim not in (0, 1):
            raise LayerArgumentError(
                f"flat_dim={flat_dim}; set it to 0 (kernels (K, 1)) or 1 (kernels (1, K))"
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_count,
            stride,
            padding,
            dilated_kernel_size,
            groups,
            bias,
            padding_mode,
            version,
        )
        self.flat_dim = flat_dim

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Spatial size of the dense kernel: (K, 1) or (1, K)."""
        cells = self.dilated_kernel_size[0]
        return (cells, 1) if self.flat_dim == 0 else (1, cells)

    def construct_kernel(self) -> Tensor:
        """Dense kernel (out, in / groups, *kernel_size), float32 or float64."""
        return super().construct_kernel().unsqueeze(-1 - self.flat_dim)
