"""The run folder: who may take it, what it says when it refuses, and what survives a kill."""

import json
import os
import resource
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import plotting
from dgm_jax.core import ConfigError, RunDirectoryError
from dgm_jax.store import RunDirectory, environment

CONFIG = {
    "num_steps": 100,
    "num_seeds": 3,
    "loss": {"name": "hinge", "weight": 0.5},
}
# What every finished run has written, and no more.
SUMMARY = {
    "experiment": "gan_ring",
    "config": CONFIG,
    "arms": ["a"],
    "num_seeds": 3,
    "num_steps": 100,
    "failed_seeds": [],
    "metrics": {},
    "final_params_sha256": {"a": "00ff"},
}


def create(path, experiment="gan_ring", config=None, resume=False, **keywords):
    keywords.setdefault("notify", lambda text: None)
    return RunDirectory.create(
        path, experiment, CONFIG if config is None else config, resume, **keywords
    )


def tree(path):
    """Every file below a folder with its bytes, apart from the lock."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in path.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


def test_a_fresh_folder_gets_its_files(tmp_path):
    with create(tmp_path / "deep" / "run") as run:
        assert not run.resumed and not run.finished
        content = json.loads((run.path / "config.json").read_text())
        assert len(content.pop("run_id")) == 16
        assert content == {"experiment": "gan_ring", "format": 2, **CONFIG}
        versions = json.loads((run.path / "environment.json").read_text())["versions"]
        assert {"python", "jax", "numpy"} <= set(versions)
        assert run.figures.is_dir() and run.checkpoints.is_dir()
        assert json.loads((run.path / ".owner.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "deep" / "run" / ".owner.json").exists()


def test_rows_are_strict_json_and_come_back(tmp_path):
    with create(tmp_path) as run:
        run.append_row(
            {"step": 1, "modes": np.array([8, 7, 6]), "valid": jnp.array([0.5, jnp.nan, jnp.inf])}
        )
        run.append_row({"step": 2, "modes": [1, 2, 3]})
        expected = [
            {"step": 1, "modes": [8, 7, 6], "valid": [0.5, None, None]},
            {"step": 2, "modes": [1, 2, 3]},
        ]
        assert run.read_rows() == expected
        text = (tmp_path / "metrics.jsonl").read_text()
        assert "NaN" not in text and "Infinity" not in text and text.count("\n") == 2


def test_rows_from_many_threads_are_whole(tmp_path):
    with create(tmp_path) as run:

        def work(thread):
            for i in range(25):
                run.append_row({"step": i, "thread": thread, "values": list(range(200))})

        threads = [threading.Thread(target=work, args=(t,)) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen = [(row["thread"], row["step"]) for row in run.read_rows()]
    assert sorted(seen) == [(t, i) for t in range(8) for i in range(25)]
    assert all([i for t, i in seen if t == thread] == list(range(25)) for thread in range(8))


def test_truncate_keeps_bytes_and_drops_what_is_torn(tmp_path):
    with create(tmp_path) as run:
        for step in (10, 20, 30):
            run.append_row({"step": step, "arm": "a", "loss": [0.1 + step, None]})
        before = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 40, "lo')
    with create(tmp_path, resume=True) as run:
        assert run.resumed
        assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(before)
        assert run.settle_rows(["a"], {"a": [10, 20]}) == []
        assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(before[:2])
        run.append_row({"step": 30})
        assert [row["step"] for row in run.read_rows()] == [10, 20, 30]


def test_a_row_that_the_disk_refuses_leaves_no_part_of_itself(tmp_path, monkeypatch):
    with create(tmp_path) as run:
        run.append_row({"step": 1})
        before = (tmp_path / "metrics.jsonl").read_bytes()

        def full(_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                run.append_row({"step": 2})
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        run.append_row({"step": 3})
        assert [row["step"] for row in run.read_rows()] == [1, 3]


def test_a_disk_that_takes_half_a_row_leaves_no_part_of_it(tmp_path):
    """The file may not grow beyond a size within the second row: the write is short, then
    refused."""
    with create(tmp_path) as run:
        run.append_row({"step": 1})
        before = (tmp_path / "metrics.jsonl").read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
            with pytest.raises(OSError, match="metrics.jsonl"):
                run.append_row({"step": 2, "loss": [0.5] * 10_000})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        run.append_row({"step": 3})
    with create(tmp_path, resume=True) as run:
        assert [row["step"] for row in run.read_rows()] == [1, 3]


def test_unfinished_run_needs_resume_and_says_so(tmp_path):
    create(tmp_path).close()
    before = tree(tmp_path)
    with pytest.raises(RunDirectoryError, match="--resume"):
        create(tmp_path)
    assert tree(tmp_path) == before
    with create(tmp_path, resume=True) as run:
        assert run.resumed and not run.finished
        assert "resumed" not in json.loads((tmp_path / "environment.json").read_text())
        run.record()
    assert len(json.loads((tmp_path / "environment.json").read_text())["resumed"]) == 1


def test_resume_clears_away_half_written_files(tmp_path):
    create(tmp_path).close()
    (tmp_path / ".summary.json.0123.part").write_text('{"met')
    (tmp_path / "figures" / ".a.png.0123.part").write_text("")
    (tmp_path / "models" / ".a.json.0123.part").write_text("")
    create(tmp_path, resume=True).close()
    assert not [name for name in tree(tmp_path) if name.endswith(".part")]


def test_resume_of_nothing_starts_afresh_and_says_so(tmp_path):
    said = []
    with create(tmp_path / "new", resume=True, notify=said.append) as run:
        assert not run.resumed
    assert len(said) == 1 and "starting afresh" in said[0]


def test_the_notice_goes_to_standard_error_by_default(tmp_path, capsys):
    RunDirectory.create(tmp_path, "gan_ring", CONFIG, resume=True).close()
    assert "starting afresh" in capsys.readouterr().err


def test_finished_run_is_refused_or_reported_as_finished(tmp_path):
    with create(tmp_path) as run:
        run.write_summary(SUMMARY | {"metrics": {"modes": {"mean": float("nan")}}})
    assert json.loads((tmp_path / "summary.json").read_text())["metrics"] == {
        "modes": {"mean": None}
    }
    before = tree(tmp_path)
    with pytest.raises(RunDirectoryError, match="finished run"):
        create(tmp_path)
    with create(tmp_path, resume=True) as run:
        assert run.finished and not run.resumed
    assert tree(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "change, words",
    [
        ({"num_steps": 200}, ["num_steps", "100", "200"]),
        ({"loss": {"name": "minimax", "weight": 0.5}}, ["loss.name", "hinge", "minimax"]),
        ({"new": 1}, ["new", "(absent)"]),
        ({"num_seeds": "3"}, ["num_seeds"]),
    ],
)
def test_another_configuration_is_named_key_by_key(tmp_path, change, words, resume):
    create(tmp_path).close()
    before = tree(tmp_path)
    with pytest.raises(RunDirectoryError, match="another run") as caught:
        create(tmp_path, config={**CONFIG, **change}, resume=resume)
    assert all(word in str(caught.value) for word in words)
    assert "weight" not in str(caught.value)
    assert tree(tmp_path) == before


def test_another_experiment_is_named(tmp_path):
    create(tmp_path).close()
    with pytest.raises(RunDirectoryError, match="'gan_ring'.*'gan_grid'"):
        create(tmp_path, experiment="gan_grid", resume=True)


def test_how_a_run_is_launched_may_differ_and_is_noted(tmp_path):
    create(tmp_path, launch={"out": "x", "resume": False}).close()
    with create(tmp_path, launch={"out": "elsewhere", "resume": True}, resume=True) as run:
        assert run.resumed
        run.record()
    noted = json.loads((tmp_path / "environment.json").read_text())
    assert noted["launch"] == {"out": "x", "resume": False}
    (again,) = noted["resumed"]
    assert again["launch"] == {"out": "elsewhere", "resume": True}
    with pytest.raises(RunDirectoryError, match="out: .*absent.* there, 'x' here"):
        create(tmp_path, config={**CONFIG, "out": "x"}, resume=True)


def test_a_tuple_in_the_configuration_is_the_list_that_was_stored(tmp_path):
    create(tmp_path, config={"method": ("vanilla", "packed2"), "rate": np.float32(0.5)}).close()
    with create(
        tmp_path, config={"method": ["vanilla", "packed2"], "rate": 0.5}, resume=True
    ) as run:
        assert run.resumed


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "figures/a.png", "checkpoints/1/x"])
def test_a_folder_with_other_files_is_left_alone(tmp_path, name, resume):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunDirectoryError, match="holds no run"):
        create(tmp_path, resume=resume)
    assert tree(tmp_path) == {name: b"mine"} and not (tmp_path / ".lock").exists()


def test_a_start_that_was_killed_before_it_was_a_run_is_an_empty_folder(tmp_path):
    create(tmp_path).close()
    (tmp_path / "config.json").unlink()
    (tmp_path / ".config.json.ab12.part").write_text("{")
    with create(tmp_path) as run:
        assert not run.resumed
    assert json.loads((tmp_path / "config.json").read_text())["num_steps"] == 100


@pytest.mark.parametrize("path", ["", "a\nb", "a\x00b", "x" * 300, "a\x1b[31m"])
def test_impossible_paths_are_refused(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunDirectoryError):
        create(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunDirectoryError, match="run folder"):
        create(tmp_path / "run")


@pytest.mark.parametrize("name", ["metrics.jsonl", "figures", "checkpoints", "summary.json"])
def test_links_out_of_the_folder_are_refused(tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    create(tmp_path / "run").close()
    target = tmp_path / "run" / name
    if target.is_dir():
        target.rmdir()
    target.symlink_to(outside / name)
    with pytest.raises(RunDirectoryError, match="outside"):
        create(tmp_path / "run", resume=True)
    assert list(outside.iterdir()) == []


def test_a_damaged_configuration_is_named(tmp_path):
    create(tmp_path).close()
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(RunDirectoryError, match="config.json"):
        create(tmp_path, resume=True)


def test_a_configuration_that_cannot_be_written_is_named_before_a_folder_exists(tmp_path):
    with pytest.raises(ConfigError, match="config.loss"):
        create(tmp_path / "run", config={"loss": len})
    assert not (tmp_path / "run").exists()


def test_figures_stay_in_their_folder_under_safe_names(tmp_path):
    names = ["samples", "../../escape", "lr=0.1, packed 2", "/etc/x", "..", "a/b", "a b"]
    with create(tmp_path / "run") as run:
        paths = [
            run.save_figure(n, plotting.lines([0, 1], {"y": [0, 1]}), caption=f"of {n}")
            for n in names
        ]
        assert len(set(paths)) == len(names)
        assert all(p.parent == run.figures and p.read_bytes().startswith(b"\x89PNG") for p in paths)
        captions = json.loads((run.figures / "captions.json").read_text())
    assert captions == {p.stem: f"of {n}" for p, n in zip(paths, names, strict=True)}
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_another_dataset_on_resume_is_refused(tmp_path):
    with create(tmp_path) as run:
        run.record({"name": "digits", "sha256": "aa"})
    with create(tmp_path, resume=True) as run:
        run.record({"name": "digits", "sha256": "aa"})
        for look in (run.compare, run.record):
            with pytest.raises(RunDirectoryError, match="sha256.*'aa'.*'bb'"):
                look({"name": "digits", "sha256": "bb"})
    assert json.loads((tmp_path / "environment.json").read_text())["dataset"]["sha256"] == "aa"


def test_another_version_on_resume_is_noticed(tmp_path):
    create(tmp_path).close()
    content = json.loads((tmp_path / "environment.json").read_text())
    content["versions"]["jax"] = "0.0.1"
    (tmp_path / "environment.json").write_text(json.dumps(content))
    said = []
    create(tmp_path, resume=True, notify=said.append).close()
    assert len(said) == 1 and "jax: '0.0.1' there" in said[0]


@pytest.mark.parametrize("before, now, said", [("abc", "def", True), ("abc", "abc", False)])
def test_other_code_on_resume_is_noticed(tmp_path, monkeypatch, before, now, said):
    notices = []
    for commit in (before, now):
        monkeypatch.setattr(
            environment, "git_state", lambda commit=commit: {"commit": commit, "dirty": False}
        )
        with create(tmp_path, resume=True, notify=notices.append) as run:
            run.record()
    assert any("git.commit: 'abc' there, 'def' here" in notice for notice in notices) == said


def test_other_settings_of_jax_on_resume_are_refused(tmp_path):
    create(tmp_path).close()
    before = tree(tmp_path)
    with (
        jax.default_matmul_precision("bfloat16"),
        pytest.raises(RunDirectoryError, match="bfloat16") as error,
    ):
        create(tmp_path, resume=True)
    assert "jax_default_matmul_precision" in str(error.value) and tree(tmp_path) == before


def test_a_closed_folder_takes_nothing(tmp_path):
    run = create(tmp_path)
    run.close()
    run.close()
    for write in (
        lambda: run.append_row({"step": 1}),
        lambda: run.write_summary({}),
        lambda: run.settle_rows([], {}),
        lambda: run.record({"name": "digits"}),
    ):
        with pytest.raises(RunDirectoryError, match="closed"):
            write()


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "notes").write_text("kept")
    with pytest.raises(RunDirectoryError, match="notes: that is a file, not a folder"):
        RunDirectory.create(tmp_path / "notes", "tiny", {}, False)
    assert (tmp_path / "notes").read_text() == "kept"


# What is derived may be lost or damaged.


def put_folder(file):
    file.unlink(missing_ok=True)
    file.mkdir()


WRONG = {
    "list": lambda file: file.write_text("[1]"),
    "cut": lambda file: file.write_text('{"arms": ["a'),
    "empty": lambda file: file.write_text(""),
    "bytes": lambda file: file.write_bytes(b"\x00\xff" * 9),
    "folder": put_folder,
}
SHAPES = {
    "object": {},
    "number of arms": SUMMARY | {"arms": 3},
    "no arms": SUMMARY | {"arms": []},
    "another arm's hash": SUMMARY | {"final_params_sha256": {"b": "00ff"}},
    "hash that is no text": SUMMARY | {"final_params_sha256": {"a": None}},
    **{f"no {name}": {k: v for k, v in SUMMARY.items() if k != name} for name in SUMMARY},
}
WRONG_SUMMARIES = WRONG | {
    name: lambda file, content=content: file.write_text(json.dumps(content))
    for name, content in SHAPES.items()
}


@pytest.mark.parametrize("kind", WRONG_SUMMARIES)
def test_a_summary_that_is_none_is_no_finish(tmp_path, kind):
    create(tmp_path).close()
    WRONG_SUMMARIES[kind](tmp_path / "summary.json")
    with pytest.raises(RunDirectoryError, match="unfinished run"):
        create(tmp_path)
    said = []
    with create(tmp_path, resume=True, notify=said.append) as run:
        assert run.resumed and not run.finished
    assert len(said) == 1 and "is now summary.damaged.json" in said[0]
    assert not (tmp_path / "summary.json").exists() and (tmp_path / "summary.damaged.json").exists()


WRONG_ENVIRONMENTS = WRONG | {
    f"{name} as a {type(value).__name__}": lambda file, name=name, value=value: file.write_text(
        json.dumps(json.loads(file.read_text()) | {name: value})
    )
    for name in ("versions", "devices", "git", "jax_settings", "launch", "dataset", "resumed")
    for value in ([1], 3)
}


@pytest.mark.parametrize("kind", ["lost", *WRONG_ENVIRONMENTS])
def test_an_environment_that_is_lost_or_damaged_is_written_anew(tmp_path, kind):
    with create(tmp_path) as run:
        run.record({"name": "digits"}, "lax")
    file = tmp_path / "environment.json"
    WRONG_ENVIRONMENTS.get(kind, lambda file: file.unlink())(file)
    said = []
    with create(tmp_path, resume=True, notify=said.append, launch={"out": "x"}) as run:
        assert "written anew" in said[0] and str(file) in said[0]
        run.compare({"name": "other"}, "plain")  # nothing is left to compare with
        run.record({"name": "digits"}, "lax")
    assert (tmp_path / "environment.damaged.json").exists() == (kind != "lost")
    content = json.loads(file.read_text())
    assert content["dataset"] == {"name": "digits"} and content["convolutions"] == "lax"
    assert {"versions", "devices", "jax_settings", "git"} <= set(content)
    create(tmp_path, resume=True, notify=said.append).close()
    assert len(said) == 1 + (kind != "lost")


def test_a_start_that_is_refused_later_leaves_no_note(tmp_path):
    """The environment is lost, so that only the checkpoints know what data the run saw: what is
    refused by them must not be what the next start is compared with."""
    create(tmp_path).close()
    (tmp_path / "environment.json").unlink()
    with create(tmp_path, resume=True) as run:
        run.compare({"name": "wrong"})
    assert not (tmp_path / "environment.json").exists()


@pytest.mark.parametrize("kind", ["lost", *WRONG])
def test_captions_that_are_lost_or_damaged_are_written_anew(tmp_path, kind):
    save = lambda run, name: run.save_figure(name, plotting.lines([0, 1], {"y": [0, 1]}), name)
    with create(tmp_path) as run:
        save(run, "a")
    file = tmp_path / "figures" / "captions.json"
    WRONG.get(kind, lambda file: file.unlink())(file)
    said = []
    with create(tmp_path, resume=True, notify=said.append) as run:
        save(run, "b")
        save(run, "c")
    assert json.loads(file.read_text()) == {"b": "b", "c": "c"}
    assert [("captions.damaged.json" in text) for text in said] == [True] * (kind != "lost")


# The version of the format.


def with_config(path, change):
    file = path / "config.json"
    content = json.loads(file.read_text()) | change
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize("resume", [False, True])
def test_a_newer_format_is_refused(tmp_path, resume):
    create(tmp_path).close()
    with_config(tmp_path, {"format": 3})
    before = tree(tmp_path)
    with pytest.raises(RunDirectoryError, match="has format 3 .* up to 2: use a newer one"):
        create(tmp_path, resume=resume)
    assert tree(tmp_path) == before


def test_an_unfinished_run_of_the_first_format_is_refused_and_a_finished_one_read(tmp_path):
    with create(tmp_path) as run:
        with_config(tmp_path, {"format": None, "run_id": None})
        run.close()
        before = tree(tmp_path)
        with pytest.raises(RunDirectoryError, match="older version .* begin again"):
            create(tmp_path, resume=True)
        assert tree(tmp_path) == before
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    with create(tmp_path, resume=True) as run:
        assert run.finished


@pytest.mark.parametrize("change", [{"format": "2"}, {"run_id": 3}, {"parent": [1]}])
def test_an_edited_heading_is_no_configuration(tmp_path, change):
    create(tmp_path).close()
    with_config(tmp_path, change)
    with pytest.raises(RunDirectoryError, match="is not the configuration of a run"):
        create(tmp_path, resume=True)


@pytest.mark.parametrize("name", ["experiment", "format", "run_id", "parent"])
def test_settings_cannot_have_the_names_of_the_heading(tmp_path, name):
    with pytest.raises(ConfigError, match=f"settings named .'{name}'"):
        create(tmp_path / "run", config={name: 1})


def test_every_folder_gets_a_name_of_its_own_and_keeps_it(tmp_path):
    runs = [create(tmp_path / name) for name in "ab"]
    for run in runs:
        run.close()
    assert runs[0].run_id != runs[1].run_id
    (tmp_path / "a").rename(tmp_path / "c")
    with create(tmp_path / "c", resume=True) as run:
        assert run.run_id == runs[0].run_id
