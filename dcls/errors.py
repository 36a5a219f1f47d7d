"""What can go wrong in this package, each with the way to mend it."""


class DclsError(Exception):
    """Base of every error that `dcls` raises on purpose."""


class LayerArgumentError(DclsError, ValueError):
    """A layer was asked for with arguments that do not fit together."""


class UnknownBackboneError(DclsError, ValueError):
    """No backbone of that name exists; the message lists the nearest ones."""


class BackboneArgumentError(DclsError, ValueError):
    """A backbone was asked for with settings that it does not have or that do not fit together."""


class CheckpointError(DclsError, ValueError):
    """A checkpoint file is missing, unreadable, or does not fit the model."""
