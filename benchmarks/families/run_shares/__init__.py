"""What a default run of the ring GAN does besides its steps: five seeds, chunks of 500 steps, each
followed by an evaluation, a row of metrics.jsonl, a checkpoint, or all of them. The rate of "ours",
with everything, beside that of the steps alone says their share."""

from benchmarks.contract import Benchmark, Side

PARTS = {
    "ours": ["evaluation", "row", "checkpoint"],
    "steps alone": [],
    "with evaluation": ["evaluation"],
    "with a row": ["row"],
    "with a checkpoint": ["checkpoint"],
    "with a row and a checkpoint": ["row", "checkpoint"],
}
BENCHMARKS = [
    Benchmark(
        name="run_shares_gan_ring",
        family="run_shares",
        size="ring GAN, 5 seeds, chunks of 500 steps",
        unit="seed-steps",
        sides={
            name: Side("run_shares.ours:chunks", {"parts": parts, "seeds": 5, "steps": 500})
            for name, parts in PARTS.items()
        },
        seeds=5,
        check=Side("run_shares.check:check", {"seeds": 5, "chunks": 2_000, "steps": 2_000}),
    )
]
