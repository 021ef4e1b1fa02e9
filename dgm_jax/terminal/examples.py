"""Examples that follow the help text of each command."""

import contextlib
from collections.abc import Iterator, Sequence

EXAMPLES = {
    "list": ("dgm-jax list", "dgm-jax list | grep -i codebook"),
    "run": (
        "dgm-jax run {name} --num_seeds 8 --num_steps 1000 --log_every 250",
        "dgm-jax run {name} --out runs/first --progress lines",
        "dgm-jax run ./mine.py --num_seeds 3",
    ),
    "ablate": (
        "dgm-jax ablate gan_ring --grid learning_rate=1e-4,1e-3 --num_seeds 8",
        "dgm-jax ablate gan_ring --grid learning_rate=log:1e-5..1e-2:6",
        "dgm-jax ablate ./mine.py --grid rate=random:log:1e-5..1e-2:8 width=32,64",
    ),
    "resume": (
        "dgm-jax resume runs/first",
        "dgm-jax resume runs/first --num_steps 20000 --out runs/longer",
    ),
    "sample": (
        "dgm-jax sample runs/first --seed 0 --num 64 --out samples.png",
        "dgm-jax sample runs/first --out samples.npz",
    ),
    "export": (
        "dgm-jax export runs/first --seed 0 --out exported",
        "dgm-jax export runs/first --num 64 --platforms cpu cuda",
    ),
    "report": ("dgm-jax report runs/first",),
    "compare": ("dgm-jax compare runs/first runs/second --out comparison.html",),
    "check": (
        "dgm-jax check {name}",
        "dgm-jax check gan_ring --grid learning_rate=1e-4,1e-3",
    ),
    "plan": (
        "dgm-jax plan {name} --devices 1 8 64 512 --kind h100",
        "dgm-jax plan gan_ring --num_seeds 64 --devices 64 --kind v5e --compile",
    ),
}


@contextlib.contextmanager
def after_help(argv: Sequence[str]) -> Iterator[None]:
    """Print examples after a help text.

    Args:
        argv: the arguments of `dgm-jax`.

    Yields:
        Nothing; the parser runs inside this context and ends after a help text by SystemExit.
    """
    try:
        yield
    except SystemExit as stop:
        asked = [word for word in argv if word in ("-h", "--help")]
        if asked and not stop.code and argv[0] in EXAMPLES:
            name = argv[1] if argv[1] not in asked else "gan_ring"
            print("examples:")
            for line in EXAMPLES[argv[0]]:
                print(f"  {line.format(name=name)}")
        raise
