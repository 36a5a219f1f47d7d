"""Images, how they are loaded, and the embedded dataset."""
