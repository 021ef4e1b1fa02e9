"""The report of a run that is still going on."""

from dgm_jax.core import DgmError, require
from dgm_jax.report.page import write_report
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import LaunchConfig, StudyConfig
from dgm_jax.store.directory import RunDirectory
from dgm_jax.terminal.progress import Progress

REFRESH_SECONDS = 30  # after which a browser reads the page again


class LiveReport:
    """Rewrites report.html after every `report_every`-th evaluation.

    The last evaluation is left out, since the finished run writes its own page.
    """

    def __init__(
        self,
        experiment: Experiment,
        config: StudyConfig,
        launch: LaunchConfig,
        directory: RunDirectory,
        progress: Progress,
    ):
        """Prepares the report of a run.

        Args:
            experiment: of the run.
            config: its settings.
            launch: how it is launched.
            directory: its folder.
            progress: gets a notice if the page cannot be written.

        Raises:
            ConfigError: `report_every` is negative.
        """
        every = launch.report_every
        require(every >= 0, f"report_every must be at least 0, got {every}")
        self._display = experiment.display()
        self._config = config
        self._every = every
        self._directory = directory
        self._progress = progress

    def update(self, step: int) -> None:
        """Writes the page if it is due. A failure is reported and does not end the run.

        Args:
            step: number of steps made.
        """
        count, rest = divmod(step, self._config.log_every)
        due = self._every and not rest and count % self._every == 0 and self._directory.writes
        if not due or step >= self._config.num_steps:
            return
        try:
            write_report(self._directory.path, self._display, refresh=REFRESH_SECONDS)
        except (DgmError, OSError) as error:
            self._progress.notice(f"the report of step {step} is left out: {error}")
