"""The ways to use a model, `mode=<name>`: one file and one config (`conf/mode`) per mode."""
