"""The feed of a group of arms whose data are on the host, and the record of how it was waited
for."""

import contextlib
from collections.abc import Callable, Iterator

from dgm_jax.core import Lane
from dgm_jax.run.context import Run
from dgm_jax.run.programs import Programs
from dgm_jax.training.feeding import Feed


@contextlib.contextmanager
def feed_of(
    run: Run, programs: Programs, lanes: Lane, steps: tuple[int, int], check: Callable[[], None]
) -> Iterator[Feed | None]:
    """Feeds the steps of a group, if its data are on the host.

    Args:
        run: what is trained.
        programs: of the group.
        lanes: as they are at the first step.
        steps: number of steps already made, and that after which the run ends.
        check: hears signals while the feed is waited for.

    Yields:
        The feed, or None for data on the device.

    Raises:
        DataError: data that cannot be read, or have changed.
    """
    placement = programs.placement
    distributed = programs.distributed
    if placement.blocks is None or distributed.stream is None:
        yield None
        return
    name = programs.group.name
    run.progress.notice(f"{name}: {placement}")
    before = run.clock.train_seconds
    feed = Feed(
        distributed.stream,
        lanes,
        placement.examples,
        distributed.examples_sharding,
        placement.blocks,
        first_step=steps[0],
        last_step=steps[1],
        check=check,
    )
    with feed:
        yield feed
    first, waited = feed.waiting()
    seconds = run.clock.train_seconds - before - first
    share = waited / seconds if seconds > 0 else 0.0
    run.clock.feeding[name] = {
        "data_on": placement.on,
        "block_steps": placement.blocks.num_steps,
        "block_bytes": placement.blocks.num_bytes,
        "first_wait_seconds": first,
        "wait_seconds": waited,
        "wait_share": share,
    }
    run.progress.notice(
        f"{name}: waited {first:.1f} s for the first block of data and {waited:.1f} s for all later"
        f" ones, {share:.1%} of the time since"
    )
