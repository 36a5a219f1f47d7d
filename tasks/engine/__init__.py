"""Training and evaluation of a task: the base task, optimization, callbacks, the trainer."""
