"""The report: read back with an HTML parser, of finished, unfinished, damaged and hostile
folders."""

import base64
import hashlib
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from dgm_jax import plotting
from dgm_jax.core import RunDirectoryError
from dgm_jax.report import format_table, statistics, write_report
from dgm_jax.report.history import History, latest_metrics
from dgm_jax.report.summaries import flattened
from dgm_jax.report.text import failed_seed_text, number
from dgm_jax.store import RunDirectory

VOID = {"meta", "img", "source", "br", "link", "input"}
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


class Page(html.parser.HTMLParser):
    """Tags with attributes, text without style, and whether every tag was closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.stack, self.style, self.wrong = [], "", [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def parse(path):
    page = Page(path.read_text("utf-8"))
    assert page.wrong == [] and page.stack == []
    return page


def check_harmless(page):
    """No script, no handler, no request."""
    names = {tag for tag, _ in page.tags}
    assert not names & {
        "script",
        "iframe",
        "object",
        "embed",
        "link",
        "form",
        "base",
        "a",
        "svg",
        "foreignobject",
    }
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in ("src", "srcset"):
                assert value.startswith("data:image/png;base64,"), (tag, name)
            assert name not in ("href", "action", "background", "data"), (tag, name)
    policy = next(
        a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert (
        policy.startswith("default-src 'none'; img-src data:;")
        and f"style-src 'sha256-{digest}'" in policy
    )
    assert "url(" not in page.style and "@import" not in page.style
    assert all(image.get("alt") for image in page.all("img"))


def make_run(path, *, finish=True, arms=("vanilla", "packed2"), name="gan_ring", extra=None):
    """A small run; returns its summary."""
    rng = np.random.default_rng(0)
    with RunDirectory.create(
        path, name, {"num_steps": 300, "num_seeds": 4, "learning_rate": 2e-4}
    ) as run:
        run.record({"name": "ring", "identity": "ring[8 modes, fresh samples]", "modes": 8})
        last = {}
        for arm in arms:
            for step in (100, 200, 300):
                modes = np.array([5.0, 6.0, 7.0, np.nan]) + (arm == "packed2") + step / 300
                loss = rng.normal(size=4)
                run.append_row(
                    {"step": step, "arm": arm, "modes": modes, "loss": loss, "seconds": 1.5}
                )
            last[arm] = {"modes": modes, "loss": loss}
        run.save_figure(
            "samples", plotting.image_grid(rng.random((4, 8, 8))), caption="Samples at fixed noise."
        )
        metrics = {
            arm: {name: statistics.summarize(values) for name, values in found.items()}
            for arm, found in last.items()
        }
        first = {"arm": arms[0], "metric": "modes"}
        summary = {
            "experiment": name,
            "config": run.config,
            "arms": list(arms),
            "num_seeds": 4,
            "num_steps": 300,
            "wall_seconds": 12.5,
            "compile_seconds": 3.25,
            "seed_steps_per_second": 812.0,
            "failed_seeds": [{"arm": arms[0], "seed": 3, "step": 120, "reason": "loss not finite"}],
            "metrics": metrics,
            "reference": statistics.compare_with_reference(
                metrics,
                [
                    first
                    | {"published": 71.0, "spread": None, "source": "Table 3", "context": True},
                    first | {"published": 7.6, "spread": 0.89, "source": "Table 1"},
                    first | {"published": 70.0, "spread": None, "source": "Table 2"},
                ],
            ),
            "explanations": {"modes": "Modes that hold at least 1 % of the samples."},
            **(extra or {}),
        }
        if finish:
            run.write_summary(flattened(summary))
    return summary


def test_report_of_a_finished_run(tmp_path):
    make_run(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    path = write_report(tmp_path)
    page = parse(path)
    check_harmless(page)
    assert path == tmp_path / "report.html" and path.stat().st_size < 1_000_000
    text = re.sub(r"\s+", " ", page.text)
    for words in [
        "gan_ring",
        "finished",
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
    assert len(page.all("picture")) == 2
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


def test_report_before_the_first_step_and_during_a_run(tmp_path):
    with RunDirectory.create(tmp_path, "gan_ring", {"num_steps": 5}) as run:
        assert "no step logged yet" in parse(write_report(tmp_path)).text
        run.append_row({"step": 1, "loss": [0.5]})
        assert "step 1 of 5" in parse(write_report(tmp_path)).text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(tmp_path, hostile):
    metrics = {
        f"{hostile}/m{hostile}": statistics.summarize([1.0, 2.0]),
        "b/x": statistics.summarize([1.0, 2.0]),
    }
    summary = {
        "experiment": hostile,
        "arms": [hostile, "b"],
        "num_steps": hostile,
        "num_seeds": hostile,
        "metrics": metrics,
        "failed_seeds": [hostile, {"seed": hostile, "arm": hostile, "reason": hostile}],
        "reference": [
            {
                "metric": hostile,
                "published": hostile,
                "spread": hostile,
                "source": hostile,
                "own": hostile,
                "interval_95": [hostile, hostile],
                "within": True,
            }
        ],
        "differences": [
            {
                "metric": hostile,
                "arm": hostile,
                "baseline": hostile,
                "mean": hostile,
                "interval_95": hostile,
                "p_value": hostile,
            }
        ],
        "explanations": {f"m{hostile}": hostile},
        "notes": [hostile],
        "wall_seconds": hostile,
        "timing": {hostile: {hostile: hostile}},
        "dataset": {hostile: hostile, "name": hostile},
        "layout": hostile,
    }
    with RunDirectory.create(tmp_path, hostile, {"note": hostile, hostile: 1}) as run:
        run.append_row({"step": 1, "arm": hostile, f"m{hostile}": [1.0, 2.0]})
        run.save_figure(
            hostile,
            plotting.training_curves([0], {hostile: {hostile: [[1.0]]}})[hostile],
            caption=hostile,
        )
        run.write_summary(summary)
    page = parse(write_report(tmp_path))
    check_harmless(page)
    assert page.text.count(hostile) >= 20
    assert not {tag for tag, _ in page.tags} & {"b"}


def test_many_and_large_pictures_fit_into_5_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    with RunDirectory.create(tmp_path, "e", {}) as run:
        run.append_row({"step": 1, "loss": [1.0]})
        for index in range(12):
            noise = Image.fromarray(rng.integers(0, 256, (600, 600, 3), np.uint8))
            noise.save(run.figures / f"noise{index}.png")
        for step in range(20):
            Image.new("L", (8, 8), step).save(run.figures / f"snapshot_{step * 50:08d}.png")
    path = write_report(tmp_path)
    page = parse(path)
    assert path.stat().st_size < 5_000_000
    assert len(page.all("img")) == 1 + 12 + 6
    shown = re.findall(r"snapshot_(\d+)", page.text)
    assert shown[0] == "00000000" and shown[-1] == "00000950"
    assert "18 of the 32 pictures" in page.text
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
    steps, curves = history.curves(10)
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
