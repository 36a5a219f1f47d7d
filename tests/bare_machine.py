"""Commands for a machine without OpenCV's system libraries; run as `python bare_machine.py FOLDER`.

Prints how each command ended, as JSON, and which modules that need OpenCV were imported by those
that must not need it.
"""

import json
import sys
from pathlib import Path

import robustness
from commands import TINY_SHAPES, command
from detection import DET_SHAPES
from segmentation import SEG_SHAPES

from tasks.benchmark import timing

ONE_CORRUPTION = ("mode=robustness", "corruptions=[fog]", "limit=2")
CELLS = ("clean", "imagenet-c/brightness/1", "imagenet-a")
BENCHMARK = (
    "mode=benchmark",
    "figures=false",
    "trainer=cpu",
    "benchmark.image_size=32",
    "benchmark.batch_sizes=[1]",
    "benchmark.passes=[inference]",
    "benchmark.seconds=0.05",
    "+backbone.depths=[1,1,1,1]",
    "+backbone.dims=[4,4,8,8]",
)


def working(folder: Path) -> dict:
    """What must work, by name."""
    sets = robustness.write_cells(
        folder / "sets", {name: robustness.all_cells()[name] for name in CELLS}
    )
    model = robustness.write_model(folder / "model.pt")
    published = (*robustness.SETTINGS, f"dataset.root={sets}", f"ckpt={model}")
    ended = {"cls fit": command(folder, *TINY_SHAPES)}
    ended["det fit"] = command(folder, *DET_SHAPES, "figures=true")
    for name, settings in (("cls", TINY_SHAPES), ("det", DET_SHAPES)):
        best = f"ckpt={ended[f'{name} fit'].folder / 'checkpoints/best.ckpt'}"
        ended[f"{name} robustness"] = command(folder, *settings, *ONE_CORRUPTION, best)
    ended["published sets"] = command(folder, *published)
    ended["benchmark"] = command(folder, *BENCHMARK)
    return ended


def refused(folder: Path) -> dict:
    """What cannot work, by name."""
    return {
        "seg fit": command(folder, *SEG_SHAPES),
        "seg benchmark": command(folder, *BENCHMARK, "task=seg"),
        "seg copies": command(
            folder, *SEG_SHAPES, "mode=corrupt", "corruptions=[fog]", f"out={folder / 'copies'}"
        ),
    }


def main(folder: Path) -> None:
    """Run all of them."""
    timing.WARM_UP_SECONDS = 0.0
    ended = working(folder)
    imported = [m for m in ("cv2", "mmcv", "mmengine", "mmseg") if m in sys.modules]
    ended |= refused(folder)
    results = {
        name: {"code": e.code, "err": e.err, "folders": [str(f) for f in e.folders]}
        for name, e in ended.items()
    }
    print(json.dumps({"imported": imported, "ended": results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
