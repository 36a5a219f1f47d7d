"""Object detection and instance segmentation."""

from tasks.detection.network.detector import Detector, cascade_mask_rcnn, faster_rcnn, mask_rcnn

__all__ = ["Detector", "cascade_mask_rcnn", "faster_rcnn", "mask_rcnn"]
