"""What stands for a dataset when models are timed on random images."""

from tasks.data.loaders import Loading, TaskData
from tasks.reporting.palette import Palette, generic_palette


class Normalisation:
    """Mean and deviation of the images, ImageNet's, per channel (RGB), of values in 0..1.

    Nothing is erased from them.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    erase = 0.0


class RandomImages(TaskData):
    """Names classes and says how pixels are normalised: all that building a task asks of data.

    Args:
        classes: their number.
        masks: whether objects have masks.
    """

    recipe = Normalisation()

    def __init__(self, classes: int, masks: bool) -> None:
        super().__init__("random images", Loading(batch_size=1, workers=0))
        self.class_names = tuple(f"class {i}" for i in range(classes))
        self.masks = masks

    @property
    def palette(self) -> Palette:
        """(classes, 3), RGB."""
        return generic_palette(len(self.class_names))
