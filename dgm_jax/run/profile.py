"""`--profile`: a trace of some training steps, for the viewers of JAX's profiler.

A trace of a whole run would be too large for any viewer, so it covers one part of a chunk
(`training.in_parts`): the steps that follow the first one, at most sixteen or as many as fit into
two seconds.
"""

import pathlib
from collections.abc import Callable

import jax

FOLDER = "profile"


class Profile:
    """A trace that is written once, in the first training of a run that makes two steps.

    Args:
        folder: of the run; None for no trace.
        notify: shows the sentence that says where the trace is.
    """

    def __init__(self, folder: pathlib.Path | None, notify: Callable[[str], None]):
        self._folder = None if folder is None else folder / FOLDER
        self._notify = notify
        self._wanted = folder is not None
        self._tracing = False

    def between_parts(self) -> None:
        """Begins or ends the trace; to be called between parts of a chunk."""
        if self._tracing:
            self.end()
        elif self._wanted:
            self._wanted = False
            self._tracing = True
            jax.profiler.start_trace(str(self._folder))

    def end(self) -> None:
        """Ends the trace if one is being written, and says where it is."""
        if not self._tracing:
            return
        self._tracing = False
        jax.profiler.stop_trace()
        how = "for TensorBoard's profile plugin or XProf; its .trace.json.gz also for Perfetto"
        self._notify(f"profile: {self._folder}, {how}")
