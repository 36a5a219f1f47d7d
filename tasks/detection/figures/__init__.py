"""What the report shows: images with objects, curves, bars."""
