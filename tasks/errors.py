"""What can go wrong in a run; messages say what was found, what was expected, and the mend."""


class TaskError(Exception):
    """Base of every error that `tasks` raises on purpose; printed without a traceback."""


class SettingError(TaskError, ValueError):
    """A setting, or a combination of settings, that cannot work."""


class DatasetError(TaskError, ValueError):
    """A dataset that is missing, wrongly laid out, empty or unreadable."""


class TrainingError(TaskError, RuntimeError):
    """Training that cannot go on, such as a loss that is no longer a number."""


class ReportError(TaskError, ValueError):
    """A result or report file that cannot be read or written."""
