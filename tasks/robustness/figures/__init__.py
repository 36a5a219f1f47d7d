"""What the report shows of robustness: severities, baselines, differences, corrupted images."""
