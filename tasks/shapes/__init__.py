"""The embedded dataset of all tasks: shapes over textures, drawn on the fly from a seed."""

from tasks.shapes.dataset import SPLITS, LevelName, ShapeScenes, Split
from tasks.shapes.forms import CLASS_NAMES
from tasks.shapes.level import LEVELS, Level
from tasks.shapes.scene import Instance, Scene
from tasks.shapes.splits import ShapeSplits

__all__ = [
    "CLASS_NAMES",
    "LEVELS",
    "SPLITS",
    "Instance",
    "Level",
    "LevelName",
    "Scene",
    "ShapeScenes",
    "ShapeSplits",
    "Split",
]
