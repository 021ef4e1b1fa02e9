"""The memory that a run keeps from chunk to chunk, which should be level after the first ones."""

from benchmarks import machine
from benchmarks.families.run_shares.ours import Run


def check(seeds: int, chunks: int, steps: int) -> dict:
    """Anonymous resident bytes over chunks of one step, twenty times on the way; a quick run, with
    `steps` of 1, makes twenty chunks."""
    run, num = Run(seeds, ["row", "checkpoint"]), min(chunks, 20 * steps)
    found = {}
    for chunk in range(1, num + 1):
        run.chunk(1)
        if chunk % max(1, num // 20) == 0:
            found[str(chunk)] = machine.status_bytes("RssAnon")
    return {"anonymous_bytes_after_chunks": found}
