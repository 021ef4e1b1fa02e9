"""The report: read back with an HTML parser, of finished, unfinished, damaged and hostile
folders."""

import base64
import io
import json
import re

import numpy as np
import pytest
from hostile_pages import PASSIVE, RAW, Injection, write_folder
from PIL import Image
from report_pages import check_harmless, check_readable, parse
from small_run import make_run

from dgm_jax import plotting
from dgm_jax.core import RunDirectoryError
from dgm_jax.report import format_table, statistics, write_report
from dgm_jax.report.history import History, latest_metrics
from dgm_jax.report.text import failed_seed_text, number
from dgm_jax.store import RunDirectory

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "</style><b>",
    "{{ 7*7 }}",
    "' onmouseover='x",
    "<!--",
    "&lt;script&gt;",
    "</title><script>",
]


def test_report_of_a_finished_run(tmp_path):
    make_run(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    path = write_report(tmp_path)
    page = parse(path)
    check_harmless(page)
    check_readable(page)
    assert path == tmp_path / "report.html" and path.stat().st_size < 1_000_000
    text = re.sub(r"\s+", " ", page.text)
    for words in [
        "gan_ring",
        "finished",
        "12 s 4 seeds 300 steps 17,666 parameters ring[8 modes, fresh samples]",
        "published 7.6 ± 0.89: within",
        "published 70: outside",
        "higher is better",
        "Ranked by modes",
        "ring[8 modes, fresh samples]",
        "vanilla",
        "packed2",
        "Modes that hold at least 1 % of the samples.",
        "seed 3 of vanilla at step 120: loss not finite",
        "3 of 4",
        "7.6 ± 0.89",
        "70",
        "within",
        "outside",
        "context",
        "Table 1",
        "packed2 minus vanilla",
        "learning_rate",
        "0.0002",
        "Samples at fixed noise.",
        "compilation, not in the rate below (s)",
        "3.250",
        "812.0",
        "jax",
    ]:
        assert words in text, words
    # modes of the three good seeds are 6, 7, 8: mean 7, se 1/sqrt(3), half-width 4.302653 / sqrt(3)
    assert (
        "7.000" in text
        and "0.5774" in text
        and "[4.516, 9.484]" in text
        and "6.000, 7.000, 8.000, failed" in text
    )
    # the headline, then the picture, then the curves; all else is folded
    places = [text.index(w) for w in ("Ranked by", "Samples at", "Over training", "All metrics")]
    assert places == sorted(places)
    assert len(page.all("img")) == 3 and "1 more curves" in text
    assert any(
        "vanilla: mean 7 over 3 seeds at step 300" in image["alt"] for image in page.all("img")
    )
    after = {
        p.name: p.read_bytes()
        for p in tmp_path.iterdir()
        if p.is_file() and p.name != "report.html"
    }
    assert after == before


def test_one_arm_has_bare_names(tmp_path):
    make_run(tmp_path, arms=("gan_ring",))
    path = write_report(tmp_path)
    assert "minus" not in parse(path).text and ">arm</th>" not in path.read_text()


def test_report_of_a_run_that_was_killed(tmp_path):
    make_run(tmp_path, finish=False)
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 400, "mo')
    page = parse(write_report(tmp_path))
    check_harmless(page)
    text = re.sub(r"\s+", " ", page.text)
    assert (
        "unfinished: step 300 of 300" in text
        and "[4.516, 9.484]" in text
        and "packed2 minus vanilla" in text
    )


def test_only_the_page_of_an_unfinished_run_asks_to_be_read_again(tmp_path):
    for finish in (False, True):
        make_run(tmp_path / str(finish), finish=finish)
        page = parse(write_report(tmp_path / str(finish), refresh=30))
        again = [m for m in page.all("meta") if m.get("http-equiv") == "refresh"]
        assert [m["content"] for m in again] == ([] if finish else ["30"])


def test_an_experiment_says_what_an_unfinished_folder_does_not(tmp_path):
    make_run(tmp_path, finish=False)
    display = {"headline": ["loss"], "levels": {"loss": "modes"}, "explanations": {"loss": "Nats."}}
    text = re.sub(r"\s+", " ", parse(write_report(tmp_path, display)).text)
    assert "Nats." in text and "more curves" not in text
    assert "modes: vanilla 7.000 [4.516, 9.484]; packed2 8.000" in text


def test_report_before_the_first_step_and_during_a_run(tmp_path):
    with RunDirectory.create(tmp_path, "gan_ring", {"num_steps": 5}) as run:
        assert "no step logged yet" in parse(write_report(tmp_path)).text
        run.append_row({"step": 1, "loss": [0.5]})
        assert "step 1 of 5" in parse(write_report(tmp_path)).text


def test_hostile_texts_stay_texts(tmp_path):
    """All of them in every place; `tests/faults pages` opens more of them in a browser."""
    first, second, *_ = HOSTILE
    metrics = {f"{arm}/m{h}": statistics.summarize([1.0, 2.0]) for arm in HOSTILE for h in HOSTILE}
    difference = {"mean": first, "interval_95": [first, second], "p_value": first}
    summary = {
        "experiment": first,
        "arms": HOSTILE,
        "num_steps": first,
        "num_seeds": second,
        "metrics": metrics,
        "failed_seeds": [*HOSTILE, *({"seed": h, "arm": h, "reason": h} for h in HOSTILE)],
        "reference": [
            {"metric": f"{arm}/m{h}", "published": h, "spread": h, "source": h, "own": h}
            | {"interval_95": [h, h], "within": True}
            for arm, h in zip(HOSTILE, reversed(HOSTILE), strict=True)
        ],
        "differences": [{"metric": h, "arm": h, "baseline": h, **difference} for h in HOSTILE],
        "explanations": {f"m{h}": h for h in HOSTILE},
        "display": {
            "headline": [f"m{h}" for h in HOSTILE],
            "better": {f"m{h}": "higher" for h in HOSTILE},
        },
        "notes": HOSTILE,
        "wall_seconds": first,
        "timing": {h: {h: h} for h in HOSTILE},
        "dataset": {h: h for h in HOSTILE} | {"name": first},
        "layout": second,
    }
    with RunDirectory.create(tmp_path, first, dict.fromkeys(HOSTILE, second)) as run:
        run.append_row({"step": 1, "arm": first, f"m{first}": [1.0, 2.0]})
        for hostile in HOSTILE:
            run.save_figure(hostile, plotting.lines([0], {"y": [0]}), caption=hostile)
        run.write_summary(summary)
    page = parse(write_report(tmp_path))
    check_harmless(page)
    check_readable(page)
    assert min(page.text.count(hostile) for hostile in HOSTILE) >= 15
    assert not {tag for tag, _ in page.tags} & {"b"}


@pytest.mark.parametrize("payload", ["control", "surrogate", "long", "direction"])
def test_what_cannot_be_seen_is_replaced_and_what_is_long_is_cut(tmp_path, payload):
    write_folder(tmp_path / "run", Injection(payload, "note", PASSIVE[payload], False, False), "")
    text = parse(write_report(tmp_path / "run")).text
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text
    )
    assert ("\ufffd" in text) == (payload != "long") and len(text) < 20_000


@pytest.mark.parametrize("payload", RAW)
def test_numbers_and_depths_of_any_size_give_a_page(tmp_path, payload):
    for place in ("value", "setting"):
        root = tmp_path / place
        write_folder(root, Injection(payload, place, RAW[payload], True, False), "")
        try:
            check_harmless(parse(write_report(root)))
        except RunDirectoryError as error:
            assert ".json" in str(error)


def test_many_and_large_pictures_fit_into_5_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    with RunDirectory.create(tmp_path, "e", {}) as run:
        run.append_row({"step": 1, "loss": [1.0]})
        for index in range(4):
            noise = Image.fromarray(rng.integers(0, 256, (700, 700, 3), np.uint8))
            noise.save(run.figures / f"noise{index}.png")
        for step in range(20):
            Image.new("L", (8, 8), step).save(run.figures / f"snapshot_{step * 50:08d}.png")
    path = write_report(tmp_path)
    page = parse(path)
    assert path.stat().st_size < 5_000_000
    assert len(page.all("img")) == 1 + 4 + 6
    shown = re.findall(r"snapshot_(\d+)", page.text)
    assert shown[0] == "00000000" and shown[-1] == "00000950"
    assert "10 of the 24 pictures" in page.text
    assert page.text.index("noise0") < page.text.index("Over training") < page.text.index("noise3")
    for image in page.all("img"):
        Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))).verify()


def test_pictures_that_are_none_are_left_out_with_a_word(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "secret").write_text("secret words")
    figures = tmp_path / "run" / "figures"
    (figures / "text.png").write_text("<script>alert(1)</script>")
    (figures / "link.png").symlink_to(tmp_path / "secret")
    (figures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 3_000_000)
    path = write_report(tmp_path / "run")
    page = parse(path)
    check_harmless(page)
    assert "no PNG picture" in page.text and "outside the run folder" in page.text
    assert base64.b64encode(b"secret words").decode() not in path.read_text()
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("summary.json", '{"metrics": {', "summary.json"),
        ("summary.json", '{"metrics": {}, "reference": [{"metric": "a"}]}', "summary.json"),
        ("config.json", "[]", "config.json"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, words):
    make_run(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(RunDirectoryError, match=words):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_damaged_records_cost_what_they_say_and_no_more(tmp_path):
    """A line of metrics.jsonl, the captions and environment.json: the rest is in the report."""
    make_run(tmp_path)
    before = parse(write_report(tmp_path))
    content = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text("x\n" + content)
    (tmp_path / "environment.json").write_text("[]")
    (tmp_path / "figures" / "captions.json").write_text("{")
    page = parse(write_report(tmp_path))
    assert "metrics.jsonl has 1 damaged lines" in page.text
    assert len(page.all("img")) == len(before.all("img")) > 0


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"metrics": 3, "reference": "x", "failed_seeds": {}, "arms": 7, "explanations": []},
        {
            "metrics": {"a": 1, "b": {"mean": "x", "per_seed": "y", "interval_95": [1]}},
            "timing": {"a": 3},
            "dataset": [],
        },
    ],
)
def test_odd_summaries_still_give_a_page(tmp_path, content):
    make_run(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(content))
    check_harmless(parse(write_report(tmp_path)))


def test_no_run_no_report(tmp_path):
    with pytest.raises(RunDirectoryError, match="holds no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_table_for_the_terminal(tmp_path):
    lines = format_table(make_run(tmp_path)).splitlines()
    assert lines[0].split() == [
        "metric",
        "mean",
        "SE",
        "95",
        "%",
        "interval",
        "seeds",
        "published",
        "within",
    ]
    row = next(line for line in lines if line.startswith("vanilla/modes"))
    assert row.split() == "vanilla/modes 7.000 0.5774 [4.516, 9.484] 3 of 4 70 no".split()
    assert lines[-1] == "failed: seed 3 of vanilla at step 120: loss not finite"
    assert len({len(line) for line in lines[:2]}) == 1


def test_table_without_reference_or_interval():
    text = format_table(
        {
            "metrics": {
                "plain": {
                    "loss": statistics.summarize([0.5]),
                    "bad\x1b[2J": statistics.summarize([None]),
                }
            }
        }
    )
    assert "published" not in text and "\x1b" not in text
    assert text.splitlines()[2].split() == ["loss", "0.5000", "-", "-", "1"]
    assert text.splitlines()[3].split() == ["bad?[2J", "-", "-", "-", "0", "of", "1"]


def test_the_table_shows_the_headline_in_its_order(tmp_path):
    summary = make_run(tmp_path)
    shown = [line.split()[0] for line in format_table(summary, ["loss", "modes"]).splitlines()[2:]]
    assert shown[:4] == ["vanilla/loss", "packed2/loss", "vanilla/modes", "packed2/modes"]
    assert format_table(summary, ["not_measured"]) == format_table(summary)


@pytest.mark.parametrize(
    "value, text",
    [
        (7.6, "7.600"),
        (0.226, "0.2260"),
        (12345.678, "12346"),
        (0, "0"),
        (8, "8"),
        (-0.00123456, "-0.001235"),
        (1e-7, "1.000e-07"),
        (3.2e9, "3.200e+09"),
        (None, "–"),
        (float("nan"), "–"),
        ("x", "x"),
        (True, "True"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_names_of_failed_seeds():
    assert (
        failed_seed_text(3) == "seed 3"
        and failed_seed_text({"seed": 3, "step": 0}) == "seed 3 at step 0"
    )


def test_history_joins_rows_of_a_step_and_thins_long_runs():
    rows = [
        {"step": s, "arm": a, "loss": [s + 0.0, None]} for a in ("x", "y") for s in range(0, 3000)
    ]
    rows += [
        {"step": 2999, "arm": "x", "modes": [1, 2]},
        {"arm": "x", "modes": [3]},
        {"step": "7", "loss": [9, 9]},
    ]
    history = History(rows)
    steps, curves = history.curves(["loss", "modes"])
    assert (
        history.arms == ["x", "y"]
        and history.metrics == ["loss", "modes"]
        and history.last_step == 2999
    )
    assert len(steps) == 400 and steps[0] == 0 and steps[-1] == 2999
    assert (
        np.array_equal(curves["y"]["loss"][:, 0], steps)
        and np.isnan(curves["y"]["loss"][:, 1]).all()
    )
    assert np.isnan(curves["x"]["modes"][:-1]).all() and curves["x"]["modes"][-1].tolist() == [1, 2]
    metrics = latest_metrics(history)
    assert metrics["x"]["modes"]["mean"] == 1.5
    assert metrics["y"]["loss"]["per_seed"] == [2999.0, None] and "modes" not in metrics["y"]
