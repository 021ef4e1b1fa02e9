"""Some of the command lines with one wrong setting of `python tests/faults settings`."""

import jax
import pytest
from hostile_settings import Mutation, mutations
from refused_settings import compilations, tried

SOME = mutations(40, seed=17)
REASONS = [
    *("is no integer", "is negative", "is not finite", "no such setting", "one value twice"),
    *("counted in int32", "32 bits", "choices", "no arm reads it", "other experiments", "switch"),
    *("has no value", "there is no setting", "an arm twice"),
]


@pytest.mark.parametrize("mutation", SOME, ids=str)
def test_a_wrong_setting_is_refused_by_its_name(mutation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verdict = tried(mutation)
    assert verdict.problem is None and verdict.named, verdict.said


def test_what_is_right_is_not_counted_as_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    right = Mutation("check", "mode_covering", ("--arm", "js_2"), "arm", "it is right")
    assert tried(right).problem == "expected exit code 2: 0"


def test_a_setting_that_is_not_named_is_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = Mutation("run", "mode_covering", ("--num_steps", "0"), "num_seeds", "it is another")
    assert tried(wrong)[:2] == (None, False)


def test_compiling_is_seen():
    before = len(compilations)
    jax.jit(lambda x: x + 17)(1.0)
    assert len(compilations) > before


def test_mutations_are_the_same_for_a_seed_and_cover_all_kinds():
    assert SOME == mutations(40, seed=17) != mutations(40, seed=18)
    many = mutations(300, seed=0)
    assert len({*many}) == 300 and len({m.name for m in many}) == 17
    assert {"run", "ablate"} == {m.command for m in many}
    reasons = " ".join(m.reason for m in many)
    missing = [words for words in REASONS if words not in reasons]
    assert missing == []
