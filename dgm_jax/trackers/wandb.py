"""Weights & Biases: one run, whose id is that of the run folder."""

import importlib
import netrc
import os
import urllib.parse
from collections.abc import Callable, Mapping

from dgm_jax.trackers.contract import TOTAL_STEP, Picture, Record, TrackedRun
from dgm_jax.trackers.mark import Mark

FOLDER = "wandb"  # below the run folder, as the tool names it
INIT_SECONDS = 30  # for the server to answer
STATUS = {"finished": 0, "failed": 1, "stopped": 130}


class Wandb:
    """Logs to the server of the user's settings, or into FOLDER/wandb to be sent later.

    The project is the experiment's name unless WANDB_PROJECT names another one. Charts are over
    `step`; the tool's own step is `Record.total_step`, which grows, as it must.
    """

    def start(self, run: TrackedRun, notify: Callable[[str], None]) -> int:
        """Begin or continue the run; without a key for the server it is recorded offline.

        Args:
            run: what is tracked.
            notify: gets a sentence about that.

        Returns:
            `total_step` of the last record.
        """
        self._wandb = importlib.import_module("wandb")
        self._mark = Mark(run.folder / FOLDER)
        last = self._mark.read()
        address = os.environ.get("WANDB_BASE_URL") or self._wandb.Settings().base_url
        mode = None if "WANDB_MODE" in os.environ or _has_key(address) else "offline"
        if mode:
            command = f"wandb sync {run.folder / FOLDER}/offline-run-*"
            notify(f"there is no key of Weights & Biases, so it works offline; later: {command}")
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or run.experiment,
            id=run.run_id,
            name=run.name,
            dir=str(run.folder),
            config=run.settings,
            mode=mode,
            resume="allow",
            reinit="create_new",
            settings=self._wandb.Settings(console="off", silent=True, init_timeout=INIT_SECONDS),
        )
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        return last

    def log(self, record: Record) -> None:
        """Log the values of a step.

        Args:
            record: steps and values.
        """
        self._mark.write(record.total_step)
        values = {"step": record.step, TOTAL_STEP: record.total_step, **record.named()}
        self._run.log(values, step=record.total_step, commit=True)

    def picture(self, picture: Picture) -> None:
        """Log a plot.

        Args:
            picture: the plot.
        """
        image = self._wandb.Image(str(picture.path), caption=picture.caption or None)
        self._run.log({picture.title: image}, step=picture.total_step, commit=False)

    def end(self, status: str, summary: Mapping[str, float]) -> None:
        """Set the summary, and finish the run.

        Args:
            status: of the run.
            summary: {"ARM/METRIC": mean over seeds}.
        """
        self._run.summary.update({f"final/{name}": value for name, value in summary.items()})
        self._run.finish(exit_code=STATUS[status])


def _has_key(address: str) -> bool:
    """Whether the tool finds a key for a server without asking for it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urllib.parse.urlsplit(address).hostname or ""
    file = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
