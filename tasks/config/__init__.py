"""The settings of a run: what each may be, and what follows from others."""
