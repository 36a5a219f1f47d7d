"""COCO's figures, and what kinds of mistakes there are."""
