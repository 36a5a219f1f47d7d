"""The one command: ``python -m tasks.run task=cls dataset=shapes``.

Hydra composes the configuration from the package `conf`; the job does the rest. Nothing heavy is
imported before a job starts, so that ``--help`` and ``--cfg job`` answer at once.
"""

import hydra
from omegaconf import DictConfig

from tasks.config.command_line import allow_lazy_help
from tasks.config.composition import explained_composition
from tasks.failures import explained

allow_lazy_help()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="run")
def run(config: DictConfig) -> None:
    """Run one job; Hydra calls this once, or once per combination of a sweep (``-m``)."""
    with explained(debug=config.debug):
        from tasks.job import run_job  # imports torch, which --help must not wait for

        run_job(config)


def main() -> None:
    """Compose the settings of the command line, and run."""
    with explained_composition():
        run()


if __name__ == "__main__":
    main()
