"""Reports of runs by command: while a run goes on, again, and of several runs."""

import re

import pytest
from report_pages import check_harmless, parse
from tiny_game import run, tiny

from dgm_jax import cli
from dgm_jax.core import RunDirectoryError
from dgm_jax.run import live
from dgm_jax.run.settings import LaunchConfig

DISPLAY = {"better": {"error": "lower"}, "levels": {"error": "w"}, "ranges": {"error": (0, None)}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A run of two cells with a page after the first evaluation, and what was written then."""
    folder, pages = tmp_path_factory.mktemp("swept") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        write = live.write_report

        def remembered(*arguments, **options):
            path = write(*arguments, **options)
            pages.append(path.read_text("utf-8"))
            return path

        patch.setattr(live, "write_report", remembered)
        experiment = tiny(**DISPLAY)
        grid = {"rate": (0.1, 0.01)}
        assert run(folder, "--report_every", "2", experiment=experiment, grid=grid) == 0
    return folder, pages


def test_a_page_while_the_run_goes_on(swept):
    """Evaluations at 10, 20 and 30: every second one, and the last one's is the finished run's."""
    folder, (page,) = swept
    assert 'http-equiv="refresh" content="30"' in page and "unfinished: step 20" in page
    assert "lower is better" in page  # as the experiment says, before there is a summary
    finished = parse(folder / "report.html")
    check_harmless(finished)
    assert "Over the settings" in finished.text and "Best error" in finished.text
    assert "1 parameters" in finished.text or "2 parameters" in finished.text


def test_a_page_that_cannot_be_written_costs_a_notice(tmp_path, monkeypatch, capfd):
    def refuse(*_, **__):
        raise RunDirectoryError("no room")

    monkeypatch.setattr(live, "write_report", refuse)
    assert run(tmp_path, "--report_every", "1", "--progress", "lines") == 0
    assert capfd.readouterr().err.count("is left out: no room") == 2


def test_a_number_that_cannot_be_is_refused(tmp_path, capfd):
    assert run(tmp_path / "run", "--report_every", "-1") == 2
    assert "report_every must be at least 0, got -1" in capfd.readouterr().err
    assert LaunchConfig().report_every == 0


def test_the_terminal_shows_an_ablation_as_a_matrix(tmp_path, capsys):
    flags = ("--kind", "plain", "half")
    experiment = tiny(**DISPLAY)
    assert run(tmp_path, *flags, experiment=experiment, grid={"rate": (0.1, 0.01)}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["arm", "error"]
    means = [float(re.search(r"(\d\S*) \[", line)[1]) for line in lines[2:6]]
    assert means == sorted(means) and lines[6] == "* best mean of its column"


def test_report_and_compare_as_commands(swept, tmp_path, monkeypatch, capsys):
    folder, _ = swept
    monkeypatch.chdir(tmp_path)
    (folder / "report.html").unlink()
    assert cli.main(["report", str(folder)]) == 0 and (folder / "report.html").is_file()
    assert run(tmp_path / "other") == 0
    capsys.readouterr()
    assert cli.main(["compare", str(folder), str(tmp_path / "other")]) == 0
    shown = capsys.readouterr().out
    assert "page: comparison.html" in shown and "run: plain, rate=0.01" in shown
    check_harmless(parse(tmp_path / "comparison.html"))
    assert cli.main(["compare", str(folder), str(tmp_path / "none")]) == 2
    assert "none holds no run" in capsys.readouterr().err
