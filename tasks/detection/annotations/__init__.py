"""COCO annotation files: read, checked, made into masks."""
