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
