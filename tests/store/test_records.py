"""Strict JSON, atomic files, safe names."""

import dataclasses
import enum
import json
import os
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_jax.core import ConfigError, RunDirectoryError, json_values
from dgm_jax.store import records


class Pair(NamedTuple):
    first: int
    second: object


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float
    names: tuple


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value, expected",
    [
        (float("nan"), None),
        (float("-inf"), None),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([1.0, np.nan, np.inf]), [1.0, None, None]),
        (np.array([[1, 2], [3, 4]], np.int32), [[1, 2], [3, 4]]),
        (np.array(["a", "b"]), ["a", "b"]),
        (jnp.array([0.25, jnp.nan]), [0.25, None]),
        (jnp.array([0.5, jnp.inf], jnp.bfloat16), [0.5, None]),
        (jnp.float32(2.0), 2.0),
        ({1: (2, {"x": np.float64("nan")})}, {"1": [2, {"x": None}]}),
        (Pair(1, pathlib.PurePosixPath("a/b")), {"first": 1, "second": "a/b"}),
        (Settings(2e-4, ("a", "b")), {"rate": 2e-4, "names": ["a", "b"]}),
        (Colour.RED, "red"),
        ({"b", "a"}, ["a", "b"]),
        (True, True),
    ],
)
def test_plain_values(value, expected):
    got = json_values.plain(value)
    assert got == expected and type(got) is type(expected)
    assert json.loads(json_values.dumps(value)) == expected


def test_float32_survives_the_round_trip():
    values = np.float32([0.1, 1e-38, 3.4e38, -7.25])
    assert np.array_equal(np.float32(json.loads(json_values.dumps(values))), values)


@pytest.mark.parametrize(
    "value",
    [
        {"loss": {"f": len}},
        {"loss": {"f": np.array([1j])}},
        {"loss": {"f": jax.random.key(0)}},
        {"loss": {"f": b"raw"}},
    ],
)
def test_what_is_not_json_is_named(value):
    with pytest.raises(ConfigError, match=r"value\.loss\.f"):
        json_values.dumps(value)


def test_dumps_is_one_ascii_line():
    text = json_values.dumps({"name": "é\u2028\n\ud800"})
    assert text.isascii() and "\n" not in text
    assert json.loads(text)["name"] == "é\u2028\n\ud800"


@pytest.mark.parametrize(
    "content", [b'{"a": NaN}', b'{"a": 1', b"[" * 100_000, b"\xff\xfe", b"[1]", b""]
)
def test_damaged_json_is_an_error_with_the_path(tmp_path, content):
    file = tmp_path / "summary.json"
    file.write_bytes(content)
    with pytest.raises(RunDirectoryError, match="summary.json"):
        records.read_json(file)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    records.write_atomically(file, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        records.write_atomically(file, "new")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "tail",
    [
        b'{"step": 3, "lo',
        b'{"step": 3}',
        b"\x00\x00\x00",
        b"\x00\x00\n",
        b'{"step": NaN}\n',
        b"7\n",
    ],
)
def test_a_torn_last_line_is_dropped(tail):
    rows = records.split_lines(b'{"step": 1}\n{"step": 2}\n' + tail)
    assert rows == [(b'{"step": 1}\n', {"step": 1}), (b'{"step": 2}\n', {"step": 2})]


def test_a_damaged_middle_line_is_told_apart():
    lines = records.split_lines(b'{"step": 1}\n{"st\n{"step": 3}\n')
    assert lines == [
        (b'{"step": 1}\n', {"step": 1}),
        (b'{"st\n', None),
        (b'{"step": 3}\n', {"step": 3}),
    ]


def test_what_is_set_aside_takes_the_next_free_name(tmp_path):
    names = []
    for content in ("first", "second", "third"):
        (tmp_path / "a.json").write_text(content)
        names.append(records.set_aside(tmp_path / "a.json").name)
    assert names == ["a.damaged.json", "a.damaged-1.json", "a.damaged-2.json"]
    assert (tmp_path / "a.damaged-1.json").read_text() == "second"
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("name", ["samples", "lr=0.001,k=2", "a.b-c_d+1", "A"])
def test_good_names_stay(name):
    assert records.safe_name(name) == name


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.sampled_from(
            [
                "..",
                "../../x",
                "/etc/passwd",
                "a/b",
                "a\\b",
                "con",
                "NUL.png",
                "-rf",
                ".hidden",
                "a\x00b",
                "\u202egnp",
                "x" * 300,
                "~",
                "",
            ]
        ),
    )
)
def test_any_name_becomes_one_plain_file_name(name):
    root = pathlib.Path("somewhere")
    safe = records.safe_name(name)
    assert safe and len(safe) <= 100 and safe.isascii()
    assert (
        not safe.startswith((".", "-"))
        and "/" not in safe
        and "\\" not in safe
        and "\x00" not in safe
    )
    assert (root / f"{safe}.png").parent == root
    assert safe.split(".")[0].lower() not in {"con", "nul", "aux", "prn", "com1"}


def test_different_names_stay_different():
    names = ["a/b", "a b", "a_b", "a\\b", "a\nb", "..", ".", "", "/", "x" * 101, "x" * 102]
    assert len({records.safe_name(n) for n in names}) == len(names)
