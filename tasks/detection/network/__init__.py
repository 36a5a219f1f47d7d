"""The detectors, and the parts they are made of."""
