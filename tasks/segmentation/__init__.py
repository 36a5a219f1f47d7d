"""Semantic segmentation."""

from tasks.segmentation.model import Segmenter, upernet

__all__ = ["Segmenter", "upernet"]
