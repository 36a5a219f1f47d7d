"""The embedded dataset of all tasks: shapes over textures, drawn on the fly from a seed."""

from tasks.data.shapes.dataset import SPLITS, LevelName, ShapeScenes, Split
from tasks.data.shapes.forms import CLASS_NAMES
from tasks.data.shapes.level import LEVELS, Level
from tasks.data.shapes.scene import Instance, Scene
from tasks.data.shapes.splits import ShapeSplits

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
