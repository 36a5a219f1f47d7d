"""The corruptions of CIFAR-10-C and Tiny-ImageNet-C, step by step as published, in float64.

An independent reference: scipy, scikit-image and loops over pixels instead of the project's short
cuts, and constants copied from the published scripts (github.com/hendrycks/robustness, folder
ImageNet-C/create_c, make_cifar_c.py and make_tinyimagenet_c.py) by another hand. Random numbers
come from the generator in the order in which the project draws them. Frost is left out: its
photographs may not be shipped.
"""

import io

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color

BOX = Image.Resampling.BOX
ZOOMS = [1.06, 1.11, 1.16, 1.21, 1.26]
SNOW = [(0.1, 0.2, 1, 0.6, 8, 3), (0.1, 0.2, 1, 0.5, 10, 4), (0.15, 0.3, 1.75, 0.55, 10, 4)]
SNOW += [(0.25, 0.3, 2.25, 0.6, 12, 6), (0.3, 0.3, 1.25, 0.65, 14, 12)]
CIFAR = {
    "gaussian_noise": [0.04, 0.06, 0.08, 0.09, 0.10],
    "shot_noise": [500, 250, 100, 75, 50],
    "impulse_noise": [0.01, 0.02, 0.03, 0.05, 0.07],
    "defocus_blur": [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
    "glass_blur": [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    "motion_blur": [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)],
    "zoom_blur": ZOOMS,
    "snow": [(*c, kept) for c, kept in zip(SNOW, [0.95, 0.9, 0.9, 0.85, 0.8], strict=True)],
    "frost": [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    "fog": [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
    "brightness": [0.05, 0.1, 0.15, 0.2, 0.3],
    "contrast": [0.75, 0.5, 0.4, 0.3, 0.15],
    "elastic_transform": [
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ],
    "pixelate": [0.95, 0.9, 0.85, 0.75, 0.65],
    "jpeg_compression": [80, 65, 58, 50, 40],
    "speckle_noise": [0.06, 0.1, 0.12, 0.16, 0.2],
    "gaussian_blur": [0.4, 0.6, 0.7, 0.8, 1],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ],
    "saturate": [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
}
TINY = {
    "gaussian_noise": [0.04, 0.08, 0.12, 0.15, 0.18],
    "shot_noise": [250, 100, 50, 30, 15],
    "impulse_noise": [0.01, 0.02, 0.05, 0.08, 0.14],
    "defocus_blur": [(0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)],
    "glass_blur": [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
    "motion_blur": [(10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)],
    "zoom_blur": ZOOMS,
    "snow": [(*c, kept) for c, kept in zip(SNOW, [0.8, 0.8, 0.7, 0.65, 0.6], strict=True)],
    "frost": [(1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)],
    "fog": [(0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)],
    "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
    "contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
    "elastic_transform": [
        (0, 0, 0.08),
        (0.05, 0.3, 0.06),
        (0.1, 0.08, 0.06),
        (0.1, 0.03, 0.03),
        (0.16, 0.03, 0.02),
    ],
    "pixelate": [0.9, 0.8, 0.7, 0.6, 0.5],
    "jpeg_compression": [65, 58, 50, 40, 25],
    "speckle_noise": [0.15, 0.2, 0.25, 0.3, 0.35],
    "gaussian_blur": [0.5, 0.75, 1, 1.25, 1.5],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.6, 0),
        (0.65, 0.1, 0.8, 0.7, 0.6, 0),
        (0.65, 0.3, 1, 0.69, 0.6, 0),
        (0.65, 0.1, 0.7, 0.68, 0.6, 1),
        (0.65, 0.1, 0.5, 0.67, 0.6, 1),
    ],
    "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)],
}
CONSTANTS = {"cifar-c": CIFAR, "tiny-imagenet-c": TINY}
SIDES = {"cifar-c": 32, "tiny-imagenet-c": 64}


def photograph(height, width, seed=0):
    """A photograph is imitated by coarse noise with edges and a little fine noise on it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
    image = np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR)).astype(float)
    image[height // 3 : height // 2, width // 4 : width // 2] = (250, 20, 90)
    image[-height // 4 :, : width // 5] = 128
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def smoothed(values, sigma):
    sigmas = (sigma, sigma, *[0] * (values.ndim - 2))
    return ndimage.gaussian_filter(values, sigmas, mode="nearest", truncate=4)


def moved(values, radius, sigma, angle):
    """ImageMagick's motion blur: half a Gaussian along a line, the border going on."""
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    blurred = np.zeros(values.shape)
    rows, columns = np.indices(values.shape[:2])
    for step, weight in enumerate(weights / weights.sum()):
        down = int(np.ceil(step * np.sin(np.radians(angle)) - 0.5))
        right = int(np.ceil(step * np.cos(np.radians(angle)) - 0.5))
        row = np.clip(rows + down, 0, values.shape[0] - 1)
        column = np.clip(columns + right, 0, values.shape[1] - 1)
        blurred += weight * values[row, column]
    return blurred


def zoomed(values, factor):
    side = len(values)
    part = int(np.ceil(side / factor))
    start = (side - part) // 2
    factors = (factor, factor, *[1] * (values.ndim - 2))
    return ndimage.zoom(values[start : start + part, start : start + part], factors, order=1)


def gaussian_noise(x, c, draws):
    return x + c * draws.standard_normal(x.shape, np.float32)


def speckle_noise(x, c, draws):
    return x + c * x * draws.standard_normal(x.shape, np.float32)


def shot_noise(x, c, draws):
    return draws.poisson((x * c).astype(np.float32)) / c


def impulse_noise(x, c, draws):
    chance = draws.random(x.shape, np.float32)
    return np.where(chance < c / 2, 0, np.where(chance < c, 1, x))


def gaussian_blur(x, c, _):
    return smoothed(x, c)


def defocus_blur(x, c, _):
    radius, smoothing = c
    axis = np.arange(-8, 9)
    disk = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(float)
    taps = np.exp(-0.5 * (np.array([-1, 0, 1]) / smoothing) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, taps, axis, mode="mirror")
    return ndimage.correlate(x, disk[..., None] / disk.sum(), mode="mirror")


def glass_blur(x, c, draws):
    sigma, reach, passes = c
    x = np.uint8(smoothed(x, sigma) * 255 + 1e-9)
    height, width = x.shape[:2]
    for _ in range(passes):
        offsets = draws.integers(-reach, reach, (height - 2 * reach, width - 2 * reach, 2), np.int8)
        steps = iter(offsets.reshape(-1, 2).tolist())
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                across, down = next(steps)
                # written as a swap of views, in which the second half reads what the first wrote
                x[row, column] = x[row + down, column + across]
    return smoothed(x / 255, sigma)


def motion_blur(x, c, draws):
    return moved(x, *c, draws.uniform(-45, 45))


def zoom_blur(x, c, _):
    side, factors = len(x), np.arange(1, c, 0.01)
    total = sum(zoomed(x, factor)[:side, :side] for factor in factors)
    return (x + total) / (len(factors) + 1)


def snow(x, c, draws):
    mean, spread, size, threshold, radius, sigma, kept = c
    side = len(x)
    flakes = zoomed(mean + spread * draws.standard_normal((side, side), np.float32), size)
    flakes[flakes < threshold] = 0
    layer = moved(np.clip(flakes, 0, 1), radius, sigma, draws.uniform(-135, -45))
    layer = (np.round(layer * 255) / 255)[:side, :side, None]
    grey = (x @ [0.299, 0.587, 0.114])[..., None]
    return kept * x + (1 - kept) * np.maximum(x, grey * 1.5 + 0.5) + layer + np.rot90(layer, 2)


def plasma(side, decay, draws):
    """Heights by the diamond-square method, one point at a time."""
    grid, step, spread = np.zeros((side, side)), side, 100.0
    while step >= 2:
        half = step // 2
        diagonal = [(0, 0), (0, step), (step, 0), (step, step)]
        cross = [(-half, 0), (half, 0), (0, -half), (0, half)]
        rounds = [((half, half), [(r - half, c - half) for r, c in diagonal])]
        rounds += [((0, half), cross), ((half, 0), cross)]
        for (top, left), around in rounds:
            noise = draws.random((side // step, side // step), np.float32)
            for i, row in enumerate(range(top, side, step)):
                for j, column in enumerate(range(left, side, step)):
                    near = [grid[(row + r) % side, (column + c) % side] for r, c in around]
                    grid[row, column] = np.mean(near) + spread**2 * (2 * noise[i, j] - 1)
        step, spread = half, spread / decay
    grid -= grid.min()
    return grid / grid.max()


def fog(x, c, draws):
    thickness, decay = c
    largest = x.max()
    x = x + thickness * plasma(len(x), decay, draws)[..., None]
    return x * largest / (largest + thickness)


def brightness(x, c, _):
    x = color.rgb2hsv(x)
    x[..., 2] = np.clip(x[..., 2] + c, 0, 1)
    return color.hsv2rgb(x)


def saturate(x, c, _):
    x = color.rgb2hsv(x)
    x[..., 1] = np.clip(x[..., 1] * c[0] + c[1], 0, 1)
    return color.hsv2rgb(x)


def contrast(x, c, _):
    mean = x.mean((0, 1))
    return (x - mean) * c + mean


def read(x, places, mode):
    channels = [ndimage.map_coordinates(x[..., i], places, order=1, mode=mode) for i in range(3)]
    return np.stack(channels, -1)


def elastic_transform(x, c, draws):
    reach, sigma, shift = np.multiply(c, len(x))
    side, middle, third = len(x), len(x) // 2, len(x) // 3
    corners = np.array([[third, third], [third, -third], [-third, -third]]) + float(middle)
    places = corners + draws.uniform(-shift, shift, (3, 2)).astype(np.float32)
    x_of, y_of = np.linalg.solve(np.c_[places, np.ones(3)], corners).T
    rows, columns = np.indices((side, side))
    found = [of[0] * columns + of[1] * rows + of[2] for of in (y_of, x_of)]
    x = read(x, found, "mirror")
    if reach:
        across, down = (
            reach
            * ndimage.gaussian_filter(
                2 * draws.random((side, side), np.float32).astype(float) - 1, sigma, truncate=3
            )
            for _ in range(2)
        )
        found = [rows + down, columns + across]
        x = read(x, found, "reflect")
    return x


def pixelate(x, c, _):
    side = len(x)
    image = Image.fromarray(np.uint8(np.round(x * 255)))
    return np.asarray(image.resize((int(side * c),) * 2, BOX).resize((side, side), BOX)) / 255


def jpeg_compression(x, c, _):
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(x * 255))).save(file, "JPEG", quality=c)
    return np.asarray(Image.open(file)) / 255


FUNCTIONS = {
    function.__name__: function
    for function in (
        *(gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur),
        *(zoom_blur, snow, fog, brightness, contrast, elastic_transform, pixelate),
        *(jpeg_compression, speckle_noise, gaussian_blur, saturate),
    )
}


def reference(image, name, severity, draws, strengths):
    """An image (H, H, 3) of bytes, corrupted as published."""
    found = FUNCTIONS[name](image / 255, CONSTANTS[strengths][name][severity - 1], draws)
    return np.uint8(np.clip(found, 0, 1) * 255 + 1e-6)
