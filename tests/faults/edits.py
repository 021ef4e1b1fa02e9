"""The edits that `edited.py` makes to the folder of a run, and what is due after each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

REFUSED, FINISHED, EITHER = "refused", "finished", "refused or finished"


class Edit(NamedTuple):
    """What is done to a run folder, what is due then, and flags of the next start."""

    do: Callable[[Path], object]
    due: str
    flags: tuple[str, ...] = ("--resume",)


def _nothing(folder: Path) -> None:
    del folder


def _write(name: str, content: str | bytes):
    content = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(content)


def remove(name: str):
    """Removes a file or folder, or what a pattern names."""

    def do(folder):
        for path in [folder] if name == "." else sorted(folder.glob(name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return do


def _in_its_place(name: str, make: Callable[[Path], object]):
    """Something else under a file's name."""

    def do(folder):
        remove(name)(folder)
        make(folder / name)

    return do


def _moved_out(name: str):
    """A file or folder moved out of the run folder, with a link to it left behind."""

    def do(folder):
        outside = folder.with_name(f"{folder.name}-outside")
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return do


def _json(name: str, **changes):
    def do(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return do


def rows(change: Callable[[list[dict]], list]):
    """The rows of metrics.jsonl changed; a row that is text is written as it is."""

    def do(folder):
        file = folder / "metrics.jsonl"
        changed = change([json.loads(line) for line in file.read_text().splitlines()])
        lines = [row if isinstance(row, str) else json.dumps(row) for row in changed]
        file.write_text("".join(f"{line}\n" for line in lines))

    return do


def _appended(text: str):
    def do(folder):
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(text)

    return do


def _with_row(**changes):
    """The second row with other entries; None takes one away."""

    def change(found):
        row = {**found[1], **changes}
        found[1] = {name: value for name, value in row.items() if value != "absent"}
        return found

    return rows(change)


def cut_all(pattern: str):
    """Files cut to seven bytes."""

    def do(folder):
        for path in folder.glob(pattern):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:7])

    return do


def _junk(name: str):
    def do(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x80\x04junk")

    return do


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


_FLAGS = {
    "another seed": (REFUSED, ("--resume", "--seed", "7")),
    "another num_steps": (REFUSED, ("--resume", "--num_steps", "40")),
    "another num_seeds": (REFUSED, ("--resume", "--num_seeds", "4")),
    "another rate": (REFUSED, ("--resume", "--rate", "0.3")),
    "another log_every": (REFUSED, ("--resume", "--log_every", "5")),
    "no --resume": (REFUSED, ()),
}
_CONFIG = {
    "a setting edited": _json("config.json", rate=0.3),
    "a setting added": _json("config.json", more=1),
    "another experiment": _json("config.json", experiment="other"),
    "truncated": cut_all("config.json"),
    "empty": _write("config.json", "{}"),
    "a list": _write("config.json", "[]"),
    "removed": remove("config.json"),
    "a folder": _in_its_place("config.json", _folder),
}
_ENVIRONMENT = {
    "removed": remove("environment.json"),
    "garbage": _write("environment.json", b"\xff\x00garbage"),
    "empty": _write("environment.json", ""),
    "a list": _write("environment.json", "[]"),
    "lists for objects": _json(
        "environment.json", versions=[1], devices=[2], git=[3], launch=[4], jax_settings=[5]
    ),
    "a text for the starts": _json("environment.json", resumed="yesterday"),
}
_SUMMARY = {
    "truncated": _write("summary.json", '{"experiment": "ti'),
    "empty": _write("summary.json", "{}"),
    "no bytes": _write("summary.json", ""),
    "arms a number": _write("summary.json", '{"arms": 3}'),
    "arms without hashes": _write("summary.json", '{"arms": ["plain", "half"]}'),
    "a folder": _in_its_place("summary.json", _folder),
}
_CHECKPOINTS = {
    "removed": (remove("checkpoints"), REFUSED),
    "emptied": (remove("checkpoints/*"), REFUSED),
    "of one arm removed": (remove("checkpoints/half"), REFUSED),
    "of the finished arm removed": (remove("checkpoints/plain"), REFUSED),
    "all unreadable": (cut_all("checkpoints/half/**/*"), REFUSED),
    "a link out of the folder": (_moved_out("checkpoints"), REFUSED),
    "a file": (_in_its_place("checkpoints", Path.touch), REFUSED),
    "newest removed": (remove("checkpoints/half/20"), FINISHED),
    "newest unreadable": (cut_all("checkpoints/half/20/**/*"), FINISHED),
    "a stray file": (_junk("checkpoints/half/junk"), FINISHED),
    "a stray file with a number": (_junk("checkpoints/half/30"), EITHER),
    "a stray folder": (_junk("checkpoints/half/20.copy/lanes/junk"), FINISHED),
    "a folder of an arm that is not there": (_junk("checkpoints/none/10/junk"), FINISHED),
    "an empty folder 30": (lambda folder: (folder / "checkpoints/half/30").mkdir(), EITHER),
}
_METRICS = {
    "torn": (_appended('{"step": 30, "arm": "ha'), FINISHED),
    "garbage at the end": (_appended("\x00\x01garbage\n"), FINISHED),
    "a row past the checkpoint": (_appended('{"step": 30, "arm": "half"}\n'), FINISHED),
    "garbage in the middle": (rows(lambda r: [*r[:2], "{garbage", *r[2:]]), EITHER),
    "a number in the middle": (rows(lambda r: [*r[:2], "3", *r[2:]]), EITHER),
    "removed": (remove("metrics.jsonl"), FINISHED),
    "emptied": (_write("metrics.jsonl", ""), FINISHED),
    "a row lost": (rows(lambda r: [r[0], *r[2:]]), EITHER),
    "the newest row lost": (rows(lambda r: r[:-1]), EITHER),
    "a row doubled": (rows(lambda r: [*r[:2], *r[1:]]), EITHER),
    "rows in another order": (rows(lambda r: r[::-1]), EITHER),
    "step absent": (_with_row(step="absent"), EITHER),
    "step a text": (_with_row(step="20"), EITHER),
    "step null": (_with_row(step=None), EITHER),
    "step of no chunk": (_with_row(step=17), EITHER),
    "arm a list": (_with_row(arm=["plain"]), EITHER),
    "arm unknown": (_with_row(arm="none"), EITHER),
    "a folder": (_in_its_place("metrics.jsonl", _folder), EITHER),
    "a link out of the folder": (_moved_out("metrics.jsonl"), REFUSED),
}
_OTHERS = {
    ".lock a folder": (_in_its_place(".lock", _folder), REFUSED),
    ".lock a link out of the folder": (
        _in_its_place(".lock", lambda path: path.symlink_to(path.parent.with_name("a-lock"))),
        REFUSED,
    ),
    ".owner.json garbage": (_write(".owner.json", b"\xff"), FINISHED),
    "captions.json garbage": (_junk("figures/captions.json"), FINISHED),
    "figures removed": (remove("figures"), FINISHED),
    "figures a link to itself": (_in_its_place("figures", _loop), REFUSED),
    "models removed": (remove("models"), FINISHED),
    "parameters removed": (remove("parameters"), FINISHED),
    "nothing": (_nothing, FINISHED),
}

# Of a run that was stopped, before it is resumed.
STOPPED: dict[str, Edit] = {
    **{f"flags: {name}": Edit(_nothing, *row) for name, row in _FLAGS.items()},
    **{f"config.json {name}": Edit(do, REFUSED) for name, do in _CONFIG.items()},
    **{f"environment.json {name}": Edit(do, FINISHED) for name, do in _ENVIRONMENT.items()},
    **{f"summary.json {name}": Edit(do, EITHER) for name, do in _SUMMARY.items()},
    **{f"checkpoints {name}": Edit(*row) for name, row in _CHECKPOINTS.items()},
    **{f"metrics.jsonl {name}": Edit(*row) for name, row in _METRICS.items()},
    **{name: Edit(*row) for name, row in _OTHERS.items()},
}


def _renamed(folder: Path) -> None:
    folder.rename(folder.with_name(f"{folder.name}-renamed"))


# While the run works, at the fourth of its six evaluations.
WORKING: dict[str, Edit] = {
    "the folder removed": Edit(remove("."), EITHER),
    "the folder renamed": Edit(_renamed, EITHER),
    "config.json removed": Edit(remove("config.json"), EITHER),
    "environment.json removed": Edit(remove("environment.json"), EITHER),
    "environment.json garbage": Edit(_ENVIRONMENT["garbage"], EITHER),
    "checkpoints removed": Edit(remove("checkpoints"), EITHER),
    "the newest checkpoint removed": Edit(remove("checkpoints/plain/30"), EITHER),
    "figures removed": Edit(remove("figures"), EITHER),
    "models removed": Edit(remove("models"), EITHER),
    "parameters removed": Edit(remove("parameters"), EITHER),
    ".lock removed": Edit(remove(".lock"), EITHER),
    "metrics.jsonl removed": Edit(remove("metrics.jsonl"), EITHER),
    "metrics.jsonl emptied": Edit(_METRICS["emptied"][0], EITHER),
    "a row lost": Edit(_METRICS["a row lost"][0], EITHER),
    "a row doubled": Edit(_METRICS["a row doubled"][0], EITHER),
    "a row without step": Edit(_METRICS["step absent"][0], EITHER),
}

# Of a finished run, before it is asked for again.
DONE: dict[str, Edit] = {
    "finished, metrics.jsonl removed": Edit(remove("metrics.jsonl"), EITHER),
    "finished, environment.json garbage": Edit(_ENVIRONMENT["garbage"], EITHER),
    "finished, checkpoints removed": Edit(remove("checkpoints"), EITHER),
    "finished, figures removed": Edit(remove("figures"), EITHER),
    "finished, summary.json empty": Edit(_write("summary.json", "{}"), EITHER),
}
