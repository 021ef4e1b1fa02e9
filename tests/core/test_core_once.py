"""What is computed once within a context, and anew outside."""

import pytest

from dgm_jax.core.once import each_once, once


@pytest.fixture
def count():
    """`count(name)` returns how often it was computed, in a list of its own."""
    made = []

    def compute(name):
        def work():
            made.append(name)
            return [made.count(name)]

        return once(name, work, list)

    return compute


def test_within_a_context_each_name_is_computed_once(count):
    assert [count("a"), count("a")] == [[1], [2]]
    with each_once():
        first = count("a")
        first.append("changed by who got it")
        assert count("a") == [3] and count("b") == [1] and count("a") == [3]
        with each_once():  # a run that this one needs
            assert count("a") == [4]
        assert count("a") == [3]
    assert count("a") == [5]


def test_a_context_that_fails_keeps_nothing(count):
    with pytest.raises(KeyError), each_once():
        count("a")
        raise KeyError
    assert count("a") == [2]


def test_what_fails_is_tried_again():
    def fails():
        raise OSError

    with each_once():
        with pytest.raises(OSError):
            once("a", fails, list)
        assert once("a", lambda: [1], list) == [1]
