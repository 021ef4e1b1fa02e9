"""Groups of processes on this machine, each with two fake devices; and, run as a program, one
process of such a group.

    python process_group.py train OUT ...   trains lanes and writes them to OUT
    python process_group.py run FLAGS       runs the tiny game; process VICTIM kills itself at its
                                            second evaluation
"""

import functools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import dgm_jax  # noqa: F401 sets flags that XLA reads once

VICTIM = "VICTIM"
DEVICES = "--xla_force_host_platform_device_count"


class Group:
    """Some processes that were started with the same words."""

    def __init__(self, count, *words, victim=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        flags = os.environ.get("XLA_FLAGS", "")
        if DEVICES not in flags:
            flags = f"{flags} {DEVICES}=2"
        environment = {
            **os.environ,
            "XLA_FLAGS": re.sub(rf"{DEVICES}=\d+", f"{DEVICES}=2", flags),
            "PYTHONPATH": os.pathsep.join([str(pathlib.Path(__file__).parents[2]), *sys.path]),
            VICTIM: "" if victim is None else str(victim),
        }
        common = ["--coordinator", f"127.0.0.1:{port}", "--num_processes", str(count)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, *map(str, words), *common, "--process_id", str(index)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(count)
        ]

    def moments(self):
        """When each process has ended, by the monotonic clock; they must print little."""
        ends = [None] * len(self.processes)
        while None in ends:
            for index, process in enumerate(self.processes):
                if ends[index] is None and process.poll() is not None:
                    ends[index] = time.monotonic()
            time.sleep(0.05)
        return ends

    def ended(self):
        """(exit code, standard output, standard error) of each process."""
        texts = [process.communicate(timeout=600) for process in self.processes]
        return [
            (process.returncode, *text) for process, text in zip(self.processes, texts, strict=True)
        ]


def game():
    """A game whose loss couples its batch: a network of one layer, and the variance of what it
    gives."""
    import jax
    import jax.numpy as jnp
    import optax

    from dgm_jax import training
    from dgm_jax.core import Aux, Player, Task

    def loss(params, state, batch, key):
        values = jnp.tanh(batch["x"] @ params["p"]["w"])
        return jnp.mean(values**2) + jnp.var(values), Aux(state, {"mean": jnp.mean(values)})

    def task(hyper):
        return Task(
            init=lambda key: ({"p": {"w": jax.random.normal(key, (5, 3))}}, {}),
            draw=lambda data, key, index: {
                "x": data[jax.random.randint(jax.random.fold_in(key, index), (16,), 0, len(data))]
            },
            algorithm=functools.partial(
                training.alternating, {"p": Player(("p",), loss)}, {"p": optax.sgd(1.0)}
            ),
            evaluate=lambda train_state, data, key: {"size": jnp.sum(train_state.params["p"]["w"])},
        )

    return task


def trained(num_lanes, num_steps, only=None):
    """What lanes by `map` start and end with, by name, on the host."""
    import jax
    import numpy as np

    from dgm_jax import parallel, training

    keys = jax.random.split(jax.random.key(3), num_lanes)
    data = np.random.default_rng(5).normal(size=(64, 5)).astype(np.float32)
    program = parallel.distribute(
        training.lane_program(game()), keys, {}, strategy="map", only=only
    )
    data = program.place_data(data)
    lanes = program.init(*program.place_data((keys, {})))
    start = parallel.fetched(lanes.train_state.params["p"]["w"])
    advance = training.in_parts(program.compile_advance(lanes, data))
    lanes, metrics = advance(lanes, data, num_steps)
    evaluation = program.compile_evaluate(lanes, data)(lanes, data)
    end = lanes.train_state.params["p"]["w"]
    return {"start": start, **parallel.fetched({"end": end, **metrics, **evaluation})}


def _train(out, coordinator, count, index):
    from dgm_jax.parallel import processes

    processes.start(coordinator, int(count), int(index))
    import jax

    results = {name: trained(*sizes) for name, sizes in {"one": (1, 1), "four": (4, 5)}.items()}
    pathlib.Path(out).mkdir(exist_ok=True)
    plain = jax.tree.map(lambda x: x.tolist(), results)
    (pathlib.Path(out) / f"{index}.json").write_text(json.dumps(plain))
    refusals = {name: _refusal(int(index), where) for name, where in REFUSING.items()}
    (pathlib.Path(out) / f"refusals-{index}.json").write_text(json.dumps(refusals))


REFUSING = {"nowhere": (), "in the second": (1,), "in both": (0, 1)}


def _refusal(index, where):
    """The error that this process raises where those of some numbers refuse, or None."""
    from dgm_jax.core import DgmError
    from dgm_jax.parallel import processes

    try:
        processes.require_everywhere(index not in where, f"too little memory in process {index}")
    except DgmError as error:
        return [type(error).__name__, str(error), error.exit_code]
    return None


def _run(flags):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from tiny_game import tiny

    from dgm_jax.run import main

    calls = []

    def summarize(arrays, config, inputs):
        import jax

        calls.append(0)
        if len(calls) == 2 and os.environ[VICTIM] == str(jax.process_index()):
            os.kill(os.getpid(), signal.SIGKILL)
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    sys.argv = [__file__, *flags]
    # The watching parent starts the words of this process again.
    return main(tiny(summarize=summarize))


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    if kind == "train":
        _train(rest[0], *rest[2::2])
    else:
        sys.exit(_run(rest))
