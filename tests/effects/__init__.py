"""What every setting does: a table that a test holds against the configuration.

`tests/tasks/test_every_setting.py` finds every leaf of every composition and demands a row for
each:

- `Effect(value, probe)`: with the leaf set to `value` the probe gives something else than without;
  with `expected` it must give exactly that. A probe is a function of a `Case` and looks at what
  acts: the optimizer's groups, a batch of the data, what reaches the backbone, the trainer.
  Looking at `case.config` proves nothing. `base` sets other leaves on both sides.
- `Refused(value, text)`: the value cannot be, and the error that says so names it: for places on a
  disk and the like, where it shows that the value is used.
- `Elsewhere("test_file.py::test_name")`: that test fails without the setting; it must mention it.
- `Exempt("reason")`: there is nothing to test.

A tuple of rows tries each. To add the row of a new setting:

- of the groups backbone and optim: `shared.py`; of trainer, logger and callbacks: `trainer.py`;
- at the top of `conf/run.yaml`, or of its block `benchmark`: `command.py`;
- of group `task`, or at the top of a task's file: `models.py`, under the task's name;
- of group `dataset`: `data.py`, in the rows that data sets have in common or under the names of
  those that have it; of its `recipe`: `recipes.py`.

A row of a setting that no longer exists fails, too.
"""
