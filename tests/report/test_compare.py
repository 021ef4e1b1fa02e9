"""Several runs side by side."""

import pytest
from report_pages import check_harmless, check_readable, parse
from small_run import make_run

from dgm_jax.core import ConfigError, RunDirectoryError
from dgm_jax.report import compare


def test_two_runs_in_one_table_and_one_page(tmp_path):
    make_run(tmp_path / "one" / "run", arms=("vanilla",))
    make_run(tmp_path / "two" / "run", finish=False)
    display = {"headline": ["modes"], "better": {"modes": "higher"}}
    folders = [tmp_path / "one" / "run", tmp_path / "two" / "run"]
    table, page = compare(folders, tmp_path / "both.html", [None, display])
    lines = table.splitlines()
    assert lines[2].startswith("two/run: packed2") and "* 8.000 [5.516, 10.48]" in lines[2]
    assert [line.split("  ")[0] for line in lines[3:5]] == ["one/run", "two/run: vanilla"]
    found = parse(page)
    check_harmless(found)
    check_readable(found)
    assert "unfinished, step 300" in found.text and "17,666" in found.text
    assert "Differences to the best, modes" in found.text  # the runs have the same seeds
    assert "published 7.6 ± 0.89: within" in found.text
    assert len(found.all("img")) == 3


def test_settings_that_differ(tmp_path):
    for name, rate in (("a", 2e-4), ("b", 3e-4)):
        make_run(tmp_path / name, finish=False, name="gan_ring", rate=rate)
    _, page = compare([tmp_path / "a", tmp_path / "b"], tmp_path / "c.html")
    text = parse(page).text.split("Settings that differ")[-1]
    assert "learning_rate0.00020.0003" in text and "num_steps" not in text


def test_what_cannot_be_compared(tmp_path):
    make_run(tmp_path / "a", finish=False)
    (tmp_path / "b").mkdir()
    out = tmp_path / "out.html"
    with pytest.raises(RunDirectoryError, match="b holds no run"):
        compare([tmp_path / "a", tmp_path / "b"], out)
    for folders, page, words in (
        (["a"], out, "takes 2 to 50 folders, got 1"),
        (["a", "a"], out, "named twice"),
        (["a", "b"], tmp_path / "out.txt", "must end in .html"),
        (["a", "b"], tmp_path / "none" / "out.html", "there is no folder"),
    ):
        with pytest.raises(ConfigError, match=words):
            compare([tmp_path / folder for folder in folders], page)
    assert not out.exists()
