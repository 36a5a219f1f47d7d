"""Operations of this package's operators, as PyTorch's counter sees them."""


def convolution_flops(
    x: tuple[int, ...], weight: tuple[int, ...], _bias: object, **_: object
) -> int:
    """Of the dense kernel, as PyTorch counts a convolution."""
    samples, channels, height, width = x
    return 2 * samples * channels * height * width * weight[2] * weight[3]


def weight_gradient_flops(
    x: tuple[int, ...], _gradient: tuple[int, ...], size: tuple[int, int], **_: object
) -> int:
    """Of its weight gradient."""
    samples, channels, height, width = x
    return 2 * samples * channels * height * width * size[0] * size[1]


def planes_convolution_flops(
    planes: tuple[int, ...],
    weight: tuple[int, ...],
    _bias: object,
    width: int,
    *_: object,
    **__: object,
) -> int:
    """Of `convolution_flops`, for maps of some width in wider planes."""
    return convolution_flops((*planes[:3], width), weight, None)


def planes_weight_gradient_flops(
    planes: tuple[int, ...],
    _gradient: tuple[int, ...],
    size: tuple[int, int],
    width: int,
    *_: object,
    **__: object,
) -> int:
    """Of `weight_gradient_flops`, likewise."""
    return weight_gradient_flops((*planes[:3], width), planes, size)
