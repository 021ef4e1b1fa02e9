"""The data set that `--data auto` chooses, before a run is recorded."""

import dataclasses
from typing import Any

from dgm_jax import data


def resolve(config: Any, **counts: str) -> tuple[Any, tuple[str, ...]]:
    """Replace the data set `auto` by the name of a set on this machine.

    Args:
        config: settings with a field `data`; any name but `auto` is kept.
        **counts: setting -> split: settings that say how many images of a split are used. One that
            has its default is lowered to the size of a smaller set.

    Returns:
        The settings, and sentences that say what was chosen.
    """
    if config.data != data.AUTO:
        return config, ()
    taken = data.available()
    default = type(config)()
    changes: dict[str, Any] = {"data": taken.name}
    sentences = [taken.sentence]
    for name, split in counts.items():
        asked = getattr(config, name)
        size = taken.sizes[split]
        if asked == getattr(default, name) and asked > size:
            changes[name] = size
            sentences.append(f"{name}={size}, all {split} images of {taken.name}, not {asked}")
    return dataclasses.replace(config, **changes), tuple(sentences)
