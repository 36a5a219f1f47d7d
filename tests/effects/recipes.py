"""Settings of `dataset.recipe`: how images are resized, augmented and normalised."""

from effects.probes import (
    draws,
    image,
    image_and_boxes,
    image_and_mask,
    images,
    inputs,
    number_of_draws,
    pil,
    sides,
    smallest_and_largest,
)
from effects.rows import Effect

MOMENTS = {
    f"dataset.recipe.{name}": (
        Effect([0.3, 0.6, 0.9], inputs("train")),
        Effect([0.3, 0.6, 0.9], inputs("test")),
    )
    for name in ("mean", "std")
}
PLAIN = {
    "dataset.recipe.crop_scale": None,
    "dataset.recipe.rand_augment": None,
    "dataset.recipe.crop_padding": 0,
    "dataset.recipe.flip": 0.0,
}


CLS_RECIPE = {
    **MOMENTS,
    "dataset.image_size": Effect(24, sides("train", "val"), expected=[(24, 24)] * 2),
    "dataset.recipe.crop_fraction": Effect(0.5, image("val")),
    "dataset.recipe.interpolation": (
        Effect("bicubic", image("val"), base={"dataset.recipe.interpolation": "bilinear"}),
        Effect("bicubic", image("train"), base={"dataset.recipe.interpolation": "bilinear"}),
    ),
    "dataset.recipe.crop_scale": Effect([0.2, 0.3], image("train"), base=PLAIN),
    "dataset.recipe.crop_padding": Effect(4, image("train"), base=PLAIN),
    "dataset.recipe.flip": Effect(0.5, number_of_draws(pil), expected=2, base=PLAIN),
    "dataset.recipe.rand_augment": Effect(
        "rand-m9-mstd0.5-inc1",
        images,
        base={**PLAIN, "dataset.recipe.crop_scale": [0.5, 1.0]},
    ),
    "dataset.recipe.erase": Effect(1.0, inputs("train"), base={"dataset.recipe.erase": 0.0}),
}
ENLARGED = {
    **CLS_RECIPE,
    "dataset.recipe.interpolation": Effect(
        "bicubic", image("val"), base={"dataset.recipe.crop_fraction": 0.5}
    ),
}
"""Of scenes, which are drawn at the size that training wants."""


SEG_RECIPE = {
    **MOMENTS,
    "dataset.image_size": Effect(48, sides("train"), expected=[(48, 48)]),
    "dataset.recipe.resize": Effect([128, 64], sides("val")),
    "dataset.recipe.ratio_range": Effect(
        [0.3, 0.4],
        image("train"),
        base={"dataset.recipe.resize": [96, 32], "dataset.recipe.ratio_range": None},
    ),
    "dataset.recipe.max_class_share": Effect(
        0.05,
        image("train"),
        base={
            "dataset.recipe.resize": [128, 64],
            "dataset.recipe.ratio_range": None,
            "dataset.recipe.max_class_share": 1.0,
        },
    ),
    "dataset.recipe.flip": Effect(
        0.5,
        number_of_draws(image_and_mask),
        expected=2,
        base={
            "dataset.recipe.flip": 0.0,
            "dataset.recipe.distort": False,
            "dataset.recipe.resize": None,
            "dataset.recipe.ratio_range": None,
        },
    ),
    "dataset.recipe.distort": Effect(True, image("train"), base={"dataset.recipe.distort": False}),
}


RESIZED = {
    "dataset.recipe.resize": [96, 64],
    "dataset.recipe.scales": [48],
    "dataset.recipe.crop": None,
    "dataset.recipe.crop_scales": [40],
    "dataset.recipe.jitter": None,
    "dataset.recipe.flip": 0.0,
}
CROPPED = {**RESIZED, "dataset.recipe.crop": [16, 24]}


DET_RECIPE = {
    **MOMENTS,
    "dataset.recipe.resize": Effect([96, 72], sides("val"), base=RESIZED),
    "dataset.recipe.scales": Effect([40], smallest_and_largest, expected=(40, 40), base=RESIZED),
    "dataset.recipe.crop": Effect([16, 24], draws(image_and_boxes), base=RESIZED),
    "dataset.recipe.crop_scales": Effect([20], draws(image_and_boxes), base=CROPPED),
    "dataset.recipe.jitter": Effect(
        24, lambda case: smallest_and_largest(case)[1] <= 24, expected=True, base=RESIZED
    ),
    "dataset.recipe.flip": Effect(
        0.5,
        number_of_draws(image_and_boxes),
        expected=2,
        base={**RESIZED, "dataset.recipe.resize": None, "dataset.recipe.scales": []},
    ),
}
