"""Robustness: how a trained network fares on corrupted and shifted images."""
