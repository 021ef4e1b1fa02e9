"""What `--data auto` stands for, before a run is recorded."""

import dataclasses
from typing import Any

from dgm_jax import data


def resolve(config: Any, **counts: str) -> tuple[Any, tuple[str, ...]]:
    """The settings with a data set by name, and sentences on what was chosen.

    Args:
        config: has `data`. Any name but `auto` stays as it is.
        counts: settings that say how many images of a split are used, with the split. One that is
            at its default is lowered to what a smaller set has.
    """
    if config.data != data.AUTO:
        return config, ()
    taken, default = data.available(), type(config)()
    changes, sentences = {"data": taken.name}, [taken.sentence]
    for name, split in counts.items():
        asked, there = getattr(config, name), taken.sizes[split]
        if asked == getattr(default, name) and asked > there:
            changes[name] = there
            sentences.append(f"{name}={there}, all {split} images of {taken.name}, not {asked}")
    return dataclasses.replace(config, **changes), tuple(sentences)
