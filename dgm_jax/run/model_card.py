"""The card of an exported model: what it is, its results, and how to use it with JAX alone.

Markdown with a YAML header, as model hubs read it.
"""

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

from dgm_jax.core import json_values
from dgm_jax.report import text
from dgm_jax.report.summaries import nested
from dgm_jax.run.loading import Trained
from dgm_jax.run.settings import as_recorded
from dgm_jax.store.reading import PathLike, read_config, read_summary

USE = """```python
import jax, pathlib, safetensors.numpy
from jax import export

program = export.deserialize(bytearray(pathlib.Path("sample.stablehlo").read_bytes()))
arrays = safetensors.numpy.load_file("model.safetensors")
samples = program.call(arrays, jax.random.key_data(jax.random.key(0)))
```"""


def model_card(folder: PathLike, trained: Trained, about: Mapping[str, Any], license: str) -> str:
    """Writes the card as text.

    Args:
        folder: of the run.
        trained: the model, of one seed.
        about: the manifest's record of the program, with the date, the seed and the step.
        license: of the trained model, in the words of the person who exports it.

    Returns:
        Markdown.
    """
    head = {"license": license, "library_name": "dgm_jax", "tags": ["jax", "stablehlo"]}
    settings = json_values.plain(as_recorded(trained.config), "settings")
    samples = about["samples"]
    program = (
        f"The program was made by JAX {about['jax']} (calling convention"
        f" {about['calling_convention_version']}) at {about['date']} for"
        f" {', '.join(about['platforms'])}. A call returns {samples['dtype']} {samples['shape']}."
    )
    blocks = [
        "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---"]),
        f"# {_escaped(trained.experiment.name)}, {_escaped(trained.arm)}",
        f"Seed {about['seed']} after {about['step']} steps, of run"
        f" {_escaped(read_config(folder).run_id)}. Licence of the model: {_escaped(license)}; the"
        " licence of its data may bind you, too.",
        "## Use",
        USE,
        program,
        "## Results",
        _results(folder, trained),
        "## Data",
        _table(("property", "value"), text.leaves(dict(trained.dataset))),
        "## Settings",
        _table(("setting", "value"), text.leaves(settings)),
    ]
    return "\n\n".join(blocks) + "\n"


def _results(folder, trained: Trained) -> str:
    """The metrics of the arm over all its seeds, the headline first."""
    summary = read_summary(folder)
    if summary is None:
        return "The run is not finished, so it has no results yet."
    metrics = nested(summary)["metrics"].get(trained.arm, {})
    first = [name for name in trained.experiment.headline if name in metrics]
    names = first + sorted(set(metrics) - set(first))
    rows = [
        (
            name,
            text.number(metrics[name].get("mean")),
            text.interval(metrics[name].get("interval_95")),
            text.given(metrics[name].get("num_seeds", "")),
        )
        for name in names
    ]
    head = ("metric", "mean over seeds", "95 % interval", "seeds")
    return f"Of all seeds of the run, of which this is one.\n\n{_table(head, rows)}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([_escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cell: Any) -> str:
    """Text on one line, without any meaning in Markdown or HTML."""
    plain = " ".join(str(cell).split())
    for character in "\\`*_[]|":
        plain = plain.replace(character, f"\\{character}")
    return html.escape(plain, quote=False)
