"""Files of results, the page made of them, and what the command does with both."""

import copy
import importlib
import json
import pathlib

import pytest

from benchmarks import __main__ as command
from benchmarks import contract, machine, page, records, registry
from benchmarks.processes import WorkerError

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))


def record(name="case", device="abacus", jaxlib="1.0", date="2026-01-02T03:04:05+00:00", **more):
    def side(role, seconds):
        return {"role": role, "count": 10.0, "calls": 2, "seconds": seconds}

    ours = side("ours", [4.0] * 9) | {"stages": {"trace": 1.0, "lower": 0.5, "compile": 2.0}}
    ours["memory"] = {"imported": 100_000_000, "peak": 350_000_000}
    return {
        "format": records.FORMAT,
        "name": name,
        "family": "made_up",
        "size": "small",
        "seeds": 8,
        "unit": "steps",
        "flops": 2.0,
        "num_bytes": None,
        "date": date,
        "device": {"key": device, "name": device.title()},
        "rounds": 9,
        "quick": False,
        "peaks": {"products": [20.0] * 9, "products_by_numpy": [40.0] * 9},
        "sides": {"ours": ours, "torch eager": side("peer", [6.0] * 9)},
        "environment": {"versions": {"jaxlib": jaxlib}},
        **more,
    }


def test_processors_and_versions_stand_side_by_side(tmp_path):
    made = [record(), record(device="slide_rule"), record(jaxlib="2.0")]
    paths = [records.write(tmp_path, each) for each in made]
    assert len(set(paths)) == 3
    key = lambda each: (each["device"]["key"], each["environment"]["versions"]["jaxlib"])
    assert sorted(records.read(tmp_path), key=key) == sorted(made, key=key)
    assert list(records.read(paths[0])) == made[:1]


def test_other_files_are_no_records(tmp_path):
    (tmp_path / "memory.json").write_text(json.dumps({"name": "memory"}))
    assert list(records.read(tmp_path)) == []


@pytest.mark.parametrize(
    "model, family, flags, name, key",
    [
        (
            "AMD EPYC",
            "26",
            "fpu avx2 avx512f",
            "AMD EPYC, family 26, AVX-512",
            "amd_epyc_family_26_avx512",
        ),
        ("AMD EPYC", "25", "avx2", "AMD EPYC, family 25, AVX2", "amd_epyc_family_25_avx2"),
        ("Apple M1", "", "", "Apple M1", "apple_m1"),
    ],
)
def test_folders_are_named_by_what_decides_about_speed(model, family, flags, name, key):
    assert machine.described(model, family, flags) == name
    assert machine.device_key(name) == key


def test_an_accelerator_has_a_folder_of_its_own():
    assert machine.device_key("NVIDIA H200") == "nvidia_h200"


def test_the_page_has_a_dated_row_for_each_processor():
    made = [record(), record(device="slide_rule", date="2025-06-07T00:00:00+00:00")]
    rows = [line for line in page.render(page.rows_of(made)).splitlines() if "made up" in line]
    assert "| Abacus | 1.0 | 2026-01-02 |" in rows[0]
    assert "| Slide_Rule | 1.0 | 2025-06-07 |" in rows[1]


def test_the_numbers_of_a_row_are_those_of_its_samples():
    (row,) = page.rows_of([record()])
    shown = dict(zip(page.COLUMNS, page.cells(row), strict=True))
    assert shown["per second"] == "5 steps"  # two calls of ten steps in four seconds
    assert shown["ratio"] == "1.50 [1.50, 1.50]" and shown["fastest peer"] == "torch eager"
    assert shown["products"] == "25 %"  # two operations a step, of forty a second
    assert shown["memory"] == ""
    assert (shown["compile"], shown["peak"]) == ("3.5 s", "250 MB")


def test_a_quick_run_and_a_run_without_samples_have_no_row():
    failed = copy.deepcopy(record())
    failed["sides"]["ours"] = {"role": "ours", "error": "gone"}
    assert page.rows_of([record(quick=True), failed]) == []


def test_the_page_is_that_of_the_stored_results():
    assert page.PAGE.read_text() == page.render(page.rows_of(records.read(records.RESULTS)))


def test_the_plot_is_drawn(tmp_path):
    page.draw(page.rows_of([record(), record(device="slide_rule")]), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def benchmarks_named(*names):
    return [contract.Benchmark(name, "tests", "small", "steps", {}) for name in names]


def test_no_benchmark_is_begun_after_the_minutes_are_over(capsys):
    now, kept = iter([0.0, 0.0, 59.0, 61.0]), []
    measure = lambda benchmark: record(benchmark.name)
    made = benchmarks_named("a", "b", "c", "d")
    assert command.run_all(made, measure, kept.append, 1.0, lambda: next(now)) == []
    assert [each["name"] for each in kept] == ["a", "b"]
    assert "2 left" in capsys.readouterr().out


def test_a_failure_does_not_stop_the_rest(capsys):
    def measure(benchmark):
        if benchmark.name == "a":
            raise WorkerError("lost")
        return record(benchmark.name)

    kept = []
    assert command.run_all(benchmarks_named("a", "b"), measure, kept.append) == ["a"]
    assert [each["name"] for each in kept] == ["b"]
    assert "ratio 1.500 [1.500, 1.500] to torch eager" in capsys.readouterr().out


def test_what_has_results_here_is_not_measured_again(tmp_path):
    environment = {"device": {"key": "abacus"}, "versions": {"jaxlib": "1.0"}}
    records.write(tmp_path, record("done"))
    records.write(tmp_path, record("elsewhere", device="slide_rule"))
    records.write(tmp_path, record("earlier", earlier_format={"file": "earlier.json"}))
    made = benchmarks_named("done", "elsewhere", "earlier", "new")
    names = lambda again: [b.name for b in command.to_do(made, tmp_path, environment, again)]
    assert names(False) == ["elsewhere", "earlier", "new"]
    assert names(True) == ["done", "elsewhere", "earlier", "new"]


def test_an_unknown_name_is_said(capsys):
    assert command.main(["gan_rink"]) == 2
    assert "gan_rink" in capsys.readouterr().err


def test_families_and_names_choose(capsys):
    assert command.main(["--list", "dirac_gan", "import_data"]) == 0
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert {b.name for b in registry.chosen(["dirac_gan"])} | {"import_data"} == names


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_can_be_imported(name):
    program = importlib.import_module(f"benchmarks.{name}")
    assert program.__doc__
