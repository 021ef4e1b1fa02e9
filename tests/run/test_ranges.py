"""Values of a grid by a rule."""

import math

import numpy as np
import pytest
from scipy import stats

from dgm_jax.core import ConfigError
from dgm_jax.run import ranges


def test_evenly_spaced_values_are_those_of_numpy():
    found = ranges.values("rate", "log:1e-5..1e-2:6", float)
    np.testing.assert_allclose(found, np.geomspace(1e-5, 1e-2, 6), rtol=1e-5)
    assert (found[0], found[-1]) == (1e-5, 1e-2)
    found = ranges.values("rate", "lin:-1..2:5", float)
    np.testing.assert_allclose(found, np.linspace(-1, 2, 5), rtol=1e-5)
    assert ranges.values("width", "log:16..256:5", int) == [16, 32, 64, 128, 256]


@pytest.mark.parametrize(("scale", "inverse"), [("lin", float), ("log", math.log)])
def test_random_values_are_uniform_on_their_scale(scale, inverse):
    found = ranges.values("rate", f"random:{scale}:1..10:1000", float)
    assert found == sorted(found)
    low, high = inverse(1), inverse(10)
    test = stats.kstest([inverse(x) for x in found], stats.uniform(low, high - low).cdf)
    assert test.pvalue > 0.01


def test_random_values_belong_to_their_seed_and_setting():
    text = "random:log:1e-5..1e-2:8"
    first = ranges.values("rate", text, float)
    assert first == ranges.values("rate", f"{text}:0", float)
    others = [ranges.values("rate", f"{text}:1", float), ranges.values("decay", text, float)]
    assert first not in others and others[0] != others[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("log:1e-5-1e-2:6", "is no range; the forms are log:LOW..HIGH:N"),
        ("log:1e-5..1e-2", "is no range"),
        ("random:1..2:3", "is no range"),
        ("lin:0..1:5:7", "is no range"),
        ("log:0..1:3", "begins above 0, got 0.0"),
        ("lin:2..1:3", "first end must be less"),
        ("lin:0..1:1", "2 to 1000 values, got 1"),
        ("random:lin:0..1:0", "1 to 1000 values, got 0"),
        ("lin:0..1:1001", "got 1001"),
        ("lin:a..1:3", "'a' is no finite float"),
        ("lin:0..inf:3", "'inf' is no finite float"),
    ],
)
def test_texts_that_are_no_range(text, words):
    assert ranges.is_range(text)
    with pytest.raises(ConfigError, match=words) as error:
        ranges.values("rate", text, float)
    assert str(error.value).startswith(f"rate={text}")


def test_whole_numbers_must_be_whole_and_different():
    with pytest.raises(ConfigError, match="'0.5' is no finite int"):
        ranges.values("width", "lin:0.5..4:3", int)
    with pytest.raises(ConfigError, match="5 values of that range are not all different"):
        ranges.values("width", "lin:1..3:5", int)
