"""ImageNet's published variants: what lies on a disk, and how its classes are numbered."""
