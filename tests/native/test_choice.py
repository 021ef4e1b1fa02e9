"""Which implementation computes convolutions: the argument, the context, the variable, the rule."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from dgm_jax import core, native
from dgm_jax.networks.layers import convolution


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("DGM_JAX_CONVOLUTIONS", raising=False)


def traced_convolution():
    """The program of a convolution, traced now: JAX keeps what it has traced of a function."""
    x, w = jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 2, 2))
    return str(jax.make_jaxpr(lambda x, w: convolution.conv(x, w))(x, w))


def test_the_nearest_word_counts(monkeypatch):
    rule = "plain" if native.onednn.why_not() else "onednn"
    assert native.convolutions() == rule
    monkeypatch.setenv("DGM_JAX_CONVOLUTIONS", "lax")
    assert native.convolutions() == "lax"
    with native.use_convolutions("plain"):
        assert native.convolutions() == "plain"
        assert native.convolutions("lax") == "lax"
        with native.use_convolutions("auto"):
            assert native.convolutions() == "plain"
    assert native.convolutions() == "lax"


def test_the_rule_is_of_the_platform_and_a_name_overrules_it():
    rule = "plain" if native.onednn.why_not() else "onednn"
    on = {p: native.convolutions(platform=p) for p in ("cpu", "gpu", "cuda", "rocm", "tpu")}
    assert on == {"cpu": rule, "gpu": "lax", "cuda": "lax", "rocm": "lax", "tpu": "lax"}
    with native.use_convolutions("plain"):
        assert native.convolutions(platform="tpu") == "plain"
    with pytest.raises(core.ConfigError, match=r"unknown platform 'cpus' .did you mean 'cpu'"):
        native.convolutions(platform="cpus")


def test_without_a_name_the_choice_is_left_to_the_lowering():
    assert native.asked() == "auto" and "implementation=auto" in traced_convolution()


def test_what_is_chosen_is_what_is_traced():
    with native.use_convolutions("plain"):
        assert "implementation=plain" in traced_convolution()
    with native.use_convolutions("lax"):
        traced = traced_convolution()
        assert "conv_general_dilated" in traced and "dgm_jax" not in traced


def test_unknown_names_are_refused(monkeypatch):
    with pytest.raises(core.ConfigError, match=r"'onedn'.*onednn"):
        native.convolutions("onedn")
    with pytest.raises(core.ConfigError, match="products"):
        with native.use_convolutions("products"):
            pass
    monkeypatch.setenv("DGM_JAX_CONVOLUTIONS", "cudnn")
    with pytest.raises(core.ConfigError, match="cudnn"):
        native.convolutions()


def test_without_a_compiler_there_is_one_notice_and_plain(tmp_path):
    code = (
        "import jax.numpy as jnp; from dgm_jax import native; from dgm_jax.networks import"
        " convolution as c; [c.conv(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))) for _ in"
        " range(3)]; print(native.convolutions());\n"
        "try: native.convolutions('onednn')\n"
        "except native.choice.core.ConfigError as e: print(e)"
    )
    environment = {**os.environ, "CXX": "no-such-compiler", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    name, refused = done.stdout.splitlines()
    assert name == "plain" and refused.startswith("convolutions by oneDNN cannot be used here: ")
    assert done.stderr.count("by plain JAX, not by oneDNN") == 1
