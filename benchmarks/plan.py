"""What `dgm-jax plan` says of a step, beside what XLA says of the compiled programs.

    python -m benchmarks.plan [--families gan_ring ...] [--collectives NAME ...] [--quick]

Families: operations, bytes moved and bytes of state of all lanes, by formula and by the program for
one device. Collectives: what eight devices exchange in a step of an experiment's short form
(`tools/short_forms.toml`), by mesh axis and kind, beside the formula. On a CPU, eight devices are
made of one.
"""

import argparse
import os
import pathlib
import sys
import tomllib

FLAG = "--xla_force_host_platform_device_count"
if "jax" not in sys.modules and FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}=8".strip()
    os.environ.setdefault("NPROC", "32")  # fewer threads than devices would deadlock

import jax  # noqa: E402

from benchmarks import machine, records  # noqa: E402
from dgm_jax.core import ConfigError  # noqa: E402
from dgm_jax.run import catalogue, start  # noqa: E402
from dgm_jax.run.costs import program_cost, step_cost  # noqa: E402
from dgm_jax.run.launch import Job  # noqa: E402
from dgm_jax.run.planning import untrained  # noqa: E402

FORMS = tomllib.loads(
    (pathlib.Path(__file__).parents[1] / "tools" / "short_forms.toml").read_text("utf-8")
)
_IMAGES = "--data digits --num_seeds"
FAMILIES = {
    "gan_ring": [
        "--num_seeds 1 --batch_size 64",
        "--num_seeds 1 --batch_size 512",
        "--num_seeds 8 --batch_size 64",
        "--num_seeds 8 --batch_size 512",
    ],
    "vqvae_images": [
        f"{_IMAGES} 1 --batch_size 16 --width 16 --code_width 8 --num_codes 32",
        f"{_IMAGES} 1 --batch_size 64 --width 16 --code_width 8 --num_codes 32",
        f"{_IMAGES} 1 --batch_size 16 --width 64 --code_width 32 --num_codes 128",
        f"{_IMAGES} 2 --batch_size 64 --width 32 --code_width 16 --num_codes 128",
    ],
    "avb_images": [
        f"{_IMAGES} 1 --batch_size 16 --hidden 64",
        f"{_IMAGES} 1 --batch_size 128 --hidden 64",
        f"{_IMAGES} 1 --batch_size 64 --hidden 256",
        f"{_IMAGES} 4 --batch_size 64 --hidden 128",
    ],
}


def traced(name: str, flags: str):
    """An experiment, its groups of arms and its data, as flags ask for them."""
    experiment = catalogue.load_experiment(name)
    settings = start.parse(experiment, flags.split())
    return experiment, *untrained(Job(experiment, settings.study, settings.launch, {}))


def short_form(name: str) -> str:
    """The flags of an experiment's short form, without a classifier of its own."""
    return f"{FORMS['common']} {FORMS['experiments'][name]}".replace(
        "--classifier {classifier}", ""
    )


def family(name: str, flags: str) -> dict:
    """Both sides of one size of a family: its first group of arms, on one device."""
    experiment, groups, inputs = traced(name, flags)
    cost = step_cost(experiment, groups[0], inputs)
    program = program_cost(experiment, groups[0], inputs, jax.devices()[:1])
    lanes, whole = cost.num_lanes, cost.whole
    formula = {
        "operations": lanes * whole.operations,
        "moved": lanes * whole.moved,
        "state_bytes": lanes * cost.state_bytes,
    }
    said = {key: getattr(program, key) for key in formula}
    errors = {key: formula[key] / said[key] - 1 for key in formula}
    shown = "  ".join(f"{key} {said[key]:.4g} {errors[key]:+.1%}" for key in formula)
    print(f"{name:<14} {flags:<75} {shown}", flush=True)
    return {"flags": flags, "formula": formula, "program": said, "error": errors}


def exchanged(name: str) -> dict:
    """What eight devices exchange in a step, by the program and by formula."""
    experiment, groups, inputs = traced(name, short_form(name))
    cost = step_cost(experiment, groups[0], inputs)
    program = program_cost(experiment, groups[0], inputs, jax.devices()[:8])
    by_axis = {f"{axis}, {kind}": size for (axis, kind), size in program.exchanged.items()}
    lanes = cost.num_lanes // program.mesh[0]
    formula = {what: lanes * size for what, size in (cost.sums or {}).items()}
    print(f"{name:<26} {program.mesh} program {by_axis}; formula {formula}", flush=True)
    return {"mesh": program.mesh, "program": by_axis, "formula": formula}


def main() -> int:
    """Measures, prints, writes."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--families", nargs="*", choices=FAMILIES, default=list(FAMILIES))
    names = list(FORMS["experiments"])
    made.add_argument("--collectives", nargs="*", choices=names, default=names)
    made.add_argument("--quick", action="store_true", help="one size; nothing is written")
    arguments = made.parse_args()
    if arguments.quick:
        family("gan_ring", FAMILIES["gan_ring"][0])
        return 0
    halves = {"families": {}, "collectives": {}}
    for name in arguments.families:
        halves["families"][name] = [family(name, flags) for flags in FAMILIES[name]]
    for name in arguments.collectives:
        try:
            halves["collectives"][name] = exchanged(name)
        except ConfigError as error:  # such as a batch that eight devices cannot share
            print(f"{name:<26} {error}", flush=True)
    for half, found in halves.items():
        if found:
            content = {"benchmark": f"plan, {half}", half: found}
            path = records.write_other(f"plan_{half}", machine.surroundings(), content)
            print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
