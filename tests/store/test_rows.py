"""metrics.jsonl compared with the steps that were logged."""

import itertools
import json

import pytest

from dgm_jax.store.rows import Rows

LOGGED = {"a": [10, 20, 30], "b": [10, 20, 30]}


def line(arm, step, **more):
    return json.dumps({"step": step, "arm": arm, "loss": [0.5, None], **more}).encode() + b"\n"


SOUND = [line(arm, step) for step in (10, 20, 30) for arm in "ab"]


def settled(tmp_path, lines, logged=LOGGED, known=()):
    """(what is said, the lines that stay, the lines set aside)"""
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(lines))
    rows = Rows(tmp_path / "metrics.jsonl")
    said = rows.settle("ab", logged, known)
    kept = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    aside = tmp_path / "metrics.damaged.jsonl"
    return said, kept, aside.read_bytes().splitlines(keepends=True) if aside.exists() else []


def test_sound_rows_stay_as_they_are(tmp_path):
    assert settled(tmp_path, SOUND) == ([], SOUND, [])


def test_rows_past_the_checkpoint_go_without_a_word(tmp_path):
    later = [line("a", 40), line("b", 40)]
    assert settled(tmp_path, SOUND + later) == ([], SOUND, [])


def test_rows_of_arms_that_are_not_asked_for_stay(tmp_path):
    later = [line("b", 40), line("b", 40)]
    assert settled(tmp_path, SOUND + later, {"a": [10, 20, 30]}) == ([], SOUND + later, [])


@pytest.mark.parametrize("index", range(6))
def test_a_row_that_is_lost_is_named(tmp_path, index):
    lines = SOUND[:index] + SOUND[index + 1 :]
    said, kept, aside = settled(tmp_path, lines)
    step, arm = [10, 20, 30][index // 2], "ab"[index % 2]
    assert said == [f"{arm}: rows of steps {step} are missing"]
    assert kept == lines and aside == []


@pytest.mark.parametrize("index", range(6))
def test_of_a_doubled_row_the_first_stays(tmp_path, index):
    step, arm = [10, 20, 30][index // 2], "ab"[index % 2]
    said, kept, aside = settled(tmp_path, [*SOUND, line(arm, step, loss=[7.0])])
    assert said == [f"{arm}: rows of steps {step} were there twice"]
    assert kept == SOUND and aside == []


DAMAGED = {
    "garbage": b"\x00\xff garbage\n",
    "cut": b'{"step": 20, "ar\n',
    "list": b"[1, 2]\n",
    "number": b"7\n",
    "no step": b'{"arm": "a", "loss": [1.0]}\n',
    "step of text": b'{"step": "20", "arm": "a"}\n',
    "no number": b'{"step": null, "arm": "a"}\n',
    "fraction": b'{"step": 20.5, "arm": "a"}\n',
    "truth": b'{"step": true, "arm": "a"}\n',
    "negative": b'{"step": -10, "arm": "a"}\n',
    "zero": b'{"step": 0, "arm": "a"}\n',
    "between": b'{"step": 15, "arm": "a"}\n',
    "no arm": b'{"step": 20}\n',
    "list of arms": b'{"step": 20, "arm": ["a", "b"]}\n',
    "table of arms": b'{"step": 20, "arm": {"a": 1}}\n',
    "unknown arm": b'{"step": 20, "arm": "c"}\n',
    "empty line": b"\n",
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("place", [0, 3])
def test_what_is_no_row_is_set_aside(tmp_path, kind, place):
    said, kept, aside = settled(tmp_path, [*SOUND[:place], DAMAGED[kind], *SOUND[place:]])
    assert kept == SOUND and aside == [DAMAGED[kind]]
    (sentence,) = said
    assert "1 damaged rows are now in metrics.damaged.jsonl" in sentence


@pytest.mark.parametrize("lines", [[], [b"garbage\n"] * 3])
def test_a_file_without_rows_gets_back_what_the_checkpoint_has(tmp_path, lines):
    known = [json.loads(line) for line in SOUND[4:]]
    said, kept, _ = settled(tmp_path, lines, known=known)
    assert kept == SOUND[4:]
    assert "a: the row of step 30 was lost and is put back" in said
    assert "b: rows of steps 10, 20 are missing" in said


def test_a_lost_file_is_made_again(tmp_path):
    rows = Rows(tmp_path / "metrics.jsonl")
    said = rows.settle("ab", LOGGED, [json.loads(line) for line in SOUND[4:]])
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(SOUND[4:]) and len(said) == 4


def test_many_steps_are_counted(tmp_path):
    said, _, _ = settled(tmp_path, [], {"a": range(1, 101)})
    assert said == ["a: rows of steps 1, 2, 3, 4, 5 and 95 more are missing"]


def test_every_selection_of_sound_rows(tmp_path):
    """For all 64 of them: what stays is what was there, and what is missing is named."""
    for chosen in itertools.product([True, False], repeat=6):
        lines = list(itertools.compress(SOUND, chosen))
        said, kept, aside = settled(tmp_path, lines)
        assert kept == lines and aside == []
        for offset, arm in enumerate("ab"):
            missing = [str(10 * n) for n, there in enumerate(chosen[offset::2], 1) if not there]
            sentence = f"{arm}: rows of steps {', '.join(missing)} are missing"
            assert (sentence in said) == bool(missing)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_rows_after_the_file_was_taken_away_are_in_a_new_one(tmp_path, how):
    rows = Rows(tmp_path / "metrics.jsonl")
    rows.append({"step": 10})
    (tmp_path / "metrics.jsonl").unlink()
    if how == "replaced":
        (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    rows.append({"step": 20})
    rows.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == ['{"step": 1}'] * (how == "replaced") + ['{"step": 20}']


def test_a_folder_in_the_place_of_the_file_is_set_aside(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    (tmp_path / "metrics.jsonl" / "notes").write_text("kept")
    rows = Rows(tmp_path / "metrics.jsonl")
    (said,) = rows.mend()
    assert "metrics.damaged.jsonl" in said
    assert (tmp_path / "metrics.damaged.jsonl" / "notes").read_text() == "kept"
    rows.append({"step": 10})
    rows.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10}\n'
