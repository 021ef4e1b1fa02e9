"""Names and paths as nobody should give them: exit code 2 and a sentence that a terminal shows and
does not obey."""

import os

import pytest

from dgm_jax import cli

LONG, BYTES, ESCAPE = "a" * 5_000, os.fsdecode(b"\xff"), "\x1b[2J\x07"
FOLDERS = [
    "/dev/null",
    "/dev/zero",
    "/etc/hostname",
    "/etc/hostname/x",
    BYTES,
    LONG,
    ESCAPE,
    "a\0b",
    "",
    " ",
]
OUTS = [folder for folder in FOLDERS if folder]  # an empty one is the default
OUTS += ["/proc/x", "a\nb", "/dev/stdout", "/"]
NAMES = ["gan\nring", "../gan_ring", "gan_ring/", BYTES, LONG, ESCAPE, "gan_ring\0", "", "."]
ARMS = {
    "mode_covering": ["js_2\n", "js_٢", "js_2 ", f"js_{'9' * 400}", "../js_2", f"js_{BYTES}", "js_"]
    + ["js_nan", "js_inf", "js_.", "js_-2", "js_1e1000", f"js_2{ESCAPE}", "", "con", LONG],
    "likelihood_versus_samples": ["junk_٣", "junk_²", f"junk_{'9' * 5_000}", "junk_3\n", "junk_3.0"]
    + ["../junk_3", f"{BYTES}junk_3", f"junk_3{ESCAPE}", "", "nul", LONG],
}
DATA = ["folder:\0", "folder:/dev/null", "npz:/dev/zero", "npz:/", "idx:/dev/zero", BYTES, "", ":"]
DATA += [f"folder:{BYTES}", f"npz:{LONG}", "digits?num_train=1e9", f"digits?{'9' * 5_000}=1"]
DATA += ["digits\n", "../digits", "tfds:../x", ESCAPE, f"digits?num_test={'9' * 5_000}", "digits?"]
DATA += [f"folder:{ESCAPE}", "digits?num_test=1&num_test=1", "digits?=1", "digits?num_test=²"]
CASES = [
    *([command, folder] for command in ("report", "resume", "sample") for folder in FOLDERS),
    *(["run", "mode_covering", "--arm", "js_2", "--out", out] for out in OUTS),
    *([command, name] for command in ("run", "check", "ablate") for name in NAMES),
    *(["run", name, "--arm", arm] for name, arms in ARMS.items() for arm in arms),
    *(["check", "feature_classifier", "--data", data] for data in DATA),
]


@pytest.mark.parametrize("words", CASES, ids=lambda words: ascii(" ".join(words))[:60])
def test_a_hostile_name_gets_a_sentence(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    shown = capsys.readouterr()
    assert code == 2 and shown.out == "", shown
    assert len(shown.err.split()) >= 4 and "Traceback" not in shown.err
    assert all(c.isprintable() or c == "\n" for c in shown.err)
    assert list(tmp_path.iterdir()) == []


def test_what_a_terminal_shows_is_left_as_it_is(capsys):
    from dgm_jax.terminal import console

    text = "é ü 漢字 “quoted”\n  next line, 100 %"
    console.tell(text)
    assert capsys.readouterr().err == f"{text}\n"
    console.tell("a\x1b]0;title\x07b\u202ec\r\tq\x9b1m")
    assert capsys.readouterr().err == "a\\x1b]0;title\\x07b\\u202ec\\r\\tq\\x9b1m\n"
