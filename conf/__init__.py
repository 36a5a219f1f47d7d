"""The configuration tree, found by Hydra as `pkg://conf`."""
