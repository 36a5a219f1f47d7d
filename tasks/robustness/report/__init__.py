"""What a report of robustness shows."""
