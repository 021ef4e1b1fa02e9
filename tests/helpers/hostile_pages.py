"""Run folders whose texts, numbers and depths want more than to be read: 60 injections.

In a payload, BEACON is an address of the one who watches: who asks for it has been made to. A
script that runs writes `ran` into the document.
"""

import json
import pathlib
from typing import NamedTuple

from PIL import Image

RUN = "document.documentElement.setAttribute('data-ran','1');new Image().src='BEACON'"

# Texts that do something where they are not escaped: a script, or a request.
ACTIVE = {
    "script": f"<script>{RUN}</script>",
    "script in upper case": f"<SCRIPT>{RUN}</SCRIPT >",
    "script after a title": f"</title><script>{RUN}</script>",
    "script after a style": f"</style><script>{RUN}</script>",
    "script after a comment": f"--><script>{RUN}</script><!--",
    "script from elsewhere": "<script src=BEACON></script>",
    "script in a template's braces": f"{{{{ 7*7 }}}}{{% raw %}}<script>{RUN}</script>",
    "event handler": f'<img src=x onerror="{RUN}">',
    "event handler that leaves an attribute": f'"><img src=x onerror="{RUN}"><p title="',
    "event handler of details": f'<details open ontoggle="{RUN}">x</details>',
    "picture from elsewhere": "<img src=BEACON>",
    "set of pictures": '<img srcset="BEACON 1x">',
    "svg": f'<svg onload="{RUN}"></svg>',
    "script in svg": f"<svg><script>{RUN}</script></svg>",
    "math": f'<math><mtext></mtext><img src=x onerror="{RUN}"></math>',
    "url of a style": "<style>body{background:url(BEACON)}</style>",
    "import of a style": "<style>@import 'BEACON';</style>",
    "style of an element": '<div style="background:url(BEACON);height:9px">x</div>',
    "style sheet": "<link rel=stylesheet href=BEACON>",
    "frame": "<iframe src=BEACON></iframe>",
    "frame with a document": '<iframe srcdoc="<img src=BEACON>"></iframe>',
    "object": "<object data=BEACON></object>",
    "embed": "<embed src=BEACON>",
    "refresh": '<meta http-equiv="refresh" content="0;url=BEACON">',
    "video": "<video src=BEACON autoplay></video>",
    "base": "<base href='BEACON/'><img src=x>",
}
# Texts that must only stay texts.
PASSIVE = {
    "direction": "\u202egnp.exe\u202c \u2066left\u2069 \u200f",
    "surrogate": "\ud800 and \udfff",
    "control": "\x00\x01\x1b[2J\x7f\x85\u2028",
    "astral": "\U0001f600" * 30 + "\U000e0001\ufdd0\uffff",
    "combining": "e" + "\u0301" * 3000,
    "long": "x" * 200_000,
    "long and broken": "<" * 50_000 + "&" * 50_000,
    "address": "javascript:alert(1)",
    "entities": "&lt;script&gt;&#60;script&#62;",
    "mathematics": "$\\frac{1}{$",
}
# JSON that is no text: numbers and depths.
RAW = {
    "infinity": "1e999",
    "a very large number": "1.7976931348623157e308",
    "a very small number": "5e-324",
    "an integer of 4,000 digits": "9" * 4000,
    "a negative integer of 400 digits": "-" + "9" * 400,
    "depth 400": "[" * 400 + "1" + "]" * 400,
    "depth 300 of tables": '{"a":' * 300 + "1" + "}" * 300,
    "many": "[" + ",".join(map(str, range(20_000))) + "]",
    "null": "null",
    "truth": "true",
}
PLACES = (
    "arm",
    "metric",
    "setting",
    "note",
    "environment",
    "published",
    "caption",
    "experiment",
    "explanation",
    "failed",
)
COUNT = 60
MARK = "@payload@"


class Injection(NamedTuple):
    """A payload in a place of a run folder; `acts`: whether it would do something unescaped."""

    name: str
    place: str
    payload: str
    raw: bool
    acts: bool


def injections() -> list[Injection]:
    """All 60: every payload at least once, the active ones in as many places as there are left."""
    chosen = []
    for i, (name, payload) in enumerate(ACTIVE.items()):
        chosen.append(Injection(name, PLACES[i % len(PLACES)], payload, False, True))
    for i, (name, payload) in enumerate(PASSIVE.items()):
        chosen.append(Injection(name, PLACES[i % len(PLACES)], payload, False, False))
    for i, (name, payload) in enumerate(RAW.items()):
        place = ("setting", "published", "note", "environment", "failed", "value")[i % 6]
        chosen.append(Injection(name, place, payload, True, False))
    for i, (name, payload) in enumerate(list(ACTIVE.items())[: COUNT - len(chosen)]):
        chosen.append(Injection(name, PLACES[(i + 3) % len(PLACES)], payload, False, True))
    return chosen


def write_folder(root: pathlib.Path, injection: Injection, beacon: str) -> None:
    """A small finished run with the payload in its place."""
    put = lambda place, usual: MARK if injection.place == place else usual
    arm, metric = put("arm", "vanilla"), put("metric", "modes")
    rows = [{"step": put("value", 10), "arm": arm, metric: [put("value", 1.0), 2.0]}]
    rows += [{"step": 20, "arm": arm, metric: [put("value", 1.0), 2.0]}]
    captions = {"samples": put("caption", "Samples."), "samples_00000010": put("caption", "Early.")}
    text = injection.payload.replace("BEACON", beacon)
    payload = text if injection.raw else json.dumps(text)
    fill = lambda value: _filled(json.dumps(value), payload, injection.raw)
    (root / "figures").mkdir(parents=True)
    (root / "config.json").write_text(fill(_config(put)))
    (root / "environment.json").write_text(fill(_environment(put)))
    (root / "summary.json").write_text(fill(_summary(put, arm, metric)))
    (root / "metrics.jsonl").write_text("".join(fill(row) + "\n" for row in rows))
    (root / "figures" / "captions.json").write_text(fill(captions))
    for name in captions:
        Image.new("L", (8, 8)).save(root / "figures" / f"{name}.png")


def _summary(put, arm, metric) -> dict:
    return {
        "experiment": put("experiment", "gan_ring"),
        "arms": [arm, "packed2"],
        "num_seeds": put("value", 2),
        "num_steps": put("value", 20),
        "wall_seconds": put("value", 3.5),
        "num_parameters": {arm: put("value", 17)},
        "display": {
            "headline": [metric],
            "better": {metric: "higher"},
            "ranges": {metric: [put("value", 0), None]},
            "levels": {metric: "floor"},
        },
        "metrics": {
            f"{name}/{which}": {
                "mean": put("value", 1.5),
                "standard_error": put("value", 0.5),
                "interval_95": [put("value", 1.0), 2.0],
                "per_seed": [put("value", 1.0), 2.0],
            }
            for name in (arm, "packed2")
            for which in (metric, "floor")
        },
        "reference": [
            {
                "metric": f"{arm}/{metric}",
                "published": put("published", 7.6),
                "spread": put("published", 0.5),
                "source": put("published", "Table 1"),
                "within": True,
            }
        ],
        "explanations": {metric: put("explanation", "Modes.")},
        "notes": [put("note", "A note.")],
        "failed_seeds": [{"seed": put("failed", 1), "arm": arm, "reason": put("failed", "loss")}],
        "timing": {arm: {metric: put("value", 1.0)}},
        "dataset": {"name": put("setting", "ring"), put("setting", "size"): 1},
    }


def _config(put) -> dict:
    return {
        "experiment": put("experiment", "gan_ring"),
        "num_steps": 20,
        "rate": put("setting", 0.1),
        put("setting", "width"): [1, {"deep": put("setting", 2)}],
    }


def _environment(put) -> dict:
    return {
        "command": put("environment", "dgm-jax run"),
        "date": put("environment", "today"),
        "devices": {"kinds": {put("environment", "cpu"): 1}, "processor": put("environment", "x")},
        "git": {"commit": put("environment", "abc"), "dirty": True},
    }


def _filled(text: str, payload: str, raw: bool) -> str:
    """JSON with the payload instead of the mark, also within a longer text where it is a text."""
    text = text.replace(f'"{MARK}":', '"mark":' if raw else f"{payload}:")
    text = text.replace(f'"{MARK}"', payload)
    return text.replace(MARK, "mark" if raw else payload[1:-1])
