"""Lightning tasks around the backbones of `dcls`."""
