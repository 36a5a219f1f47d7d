"""The parts of mmsegmentation that this project uses, imported here and nowhere else.

At import the maintained distributions print a line about a cloud service and warn about compiled
operators; neither concerns what is used here. Later they would print how each parameter was
initialised.
"""

import contextlib
import io
import logging
import warnings
from typing import Any

from tasks.opencv import require_cv2

require_cv2("segmentation")  # mmcv imports it, but would not say what is missing
with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmcv
    import mmcv.transforms
    import mmseg.datasets
    import mmseg.datasets.transforms
    import mmseg.models
    from mmengine.logging import MMLogger
    from mmengine.structures import PixelData
    from mmseg.models.segmentors import EncoderDecoder
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

MMLogger.get_current_instance().setLevel(logging.WARNING)

UPerHead: Any = mmseg.models.UPerHead
Compose: Any = mmcv.transforms.Compose
RandomResize: Any = mmcv.transforms.RandomResize
Resize: Any = mmseg.datasets.transforms.Resize
RandomCrop: Any = mmseg.datasets.transforms.RandomCrop
RandomFlip: Any = mmseg.datasets.transforms.RandomFlip
PhotoMetricDistortion: Any = mmseg.datasets.transforms.PhotoMetricDistortion
bgr2rgb: Any = mmcv.bgr2rgb
imfrombytes: Any = mmcv.imfrombytes
imrescale: Any = mmcv.imrescale
ADE20K: Any = mmseg.datasets.ADE20KDataset.METAINFO
"""Class names and palette (`classes`, `palette`)."""
VOC: Any = mmseg.datasets.PascalVOCDataset.METAINFO

__all__ = [
    "ADE20K",
    "MODELS",
    "VOC",
    "Compose",
    "EncoderDecoder",
    "PhotoMetricDistortion",
    "PixelData",
    "RandomCrop",
    "RandomFlip",
    "RandomResize",
    "Resize",
    "SegDataSample",
    "UPerHead",
    "bgr2rgb",
    "imfrombytes",
    "imrescale",
]
