"""Optimizers by name, with decoupled weight decay and clipping; by optax."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import Array, Registry, at_least_float32, require
from dgm_jax.training import schedules

Number = float | Array
Optimizer = optax.GradientTransformationExtraArgs


class Rule(NamedTuple):
    """How an optimizer scales a gradient before the learning rate is applied.

    Attributes:
        make: `(b1, b2, eps_root) -> ` the transformation.
        b1: default decay of the mean of gradients; None if the optimizer keeps none.
        b2: default decay of the mean of squared gradients; None if the optimizer keeps none.
    """

    make: Callable[..., optax.GradientTransformation]
    b1: float | None
    b2: float | None


def _adam(b1, b2, eps_root):
    return optax.scale_by_adam(b1, b2, eps_root=eps_root)


OPTIMIZERS: Registry[Rule] = Registry(
    "optimizer",
    {
        "sgd": Rule(lambda b1, b2, eps_root: optax.identity(), None, None),
        "momentum": Rule(lambda b1, b2, eps_root: optax.trace(b1), 0.9, None),
        "rmsprop": Rule(lambda b1, b2, eps_root: optax.scale_by_rms(b2), None, 0.9),
        "adam": Rule(_adam, 0.9, 0.999),
        "adamw": Rule(_adam, 0.9, 0.999),
        "nadam": Rule(
            lambda b1, b2, eps_root: optax.scale_by_adam(b1, b2, eps_root=eps_root, nesterov=True),
            0.9,
            0.999,
        ),
        "adabelief": Rule(lambda b1, b2, eps_root: optax.scale_by_belief(b1, b2), 0.9, 0.999),
        "lion": Rule(lambda b1, b2, eps_root: optax.scale_by_lion(b1, b2), 0.9, 0.99),
    },
)


def optimizer(
    name: str,
    learning_rate: Number | optax.Schedule,
    *,
    b1: Number | None = None,
    b2: Number | None = None,
    weight_decay: Number = 0.0,
    clip_norm: Number = 0.0,
    eps_root: float = 0.0,
) -> Optimizer:
    """Make an optimizer by its name.

    With g the gradient, scaled down to the norm `clip_norm` if it is longer, u what the optimizer
    makes of it and w the parameters, an update is w - learning_rate (u + weight_decay w). Weight
    decay is decoupled from the gradient whatever the optimizer (Loshchilov and Hutter 2019,
    "Decoupled weight decay regularization"), so that "adam" with it is "adamw", and "momentum" is
    their SGDW.

    Args:
        name: of `OPTIMIZERS`.
        learning_rate: a number, which may be traced, or a schedule.
        b1: decay of the mean of gradients, in [0, 1); None for the optimizer's default.
        b2: decay of the mean of squared gradients, in [0, 1); None for the optimizer's default.
        weight_decay: at least 0. The constant 0 adds nothing to the optimizer's state.
        clip_norm: largest Euclidean norm over all parameters together; 0 for no limit. As above
            for the constant 0.
        eps_root: added inside the square root of "adam", "adamw" and "nadam", so that an update is
            differentiable where the mean of squares is 0.

    Returns:
        The optimizer.

    Raises:
        ConfigError: for another name, or for `b1` or `b2` of an optimizer that has none.
    """
    before = _before_the_rate(name, b1, b2, weight_decay, clip_norm, eps_root)
    return optax.chain(*before, optax.scale_by_learning_rate(learning_rate))


def optimizer_of(
    settings: Any,
    hyper: dict[str, Any],
    learning_rate: Number,
    *,
    name: str = "adam",
    schedule: str | None = None,
    b1: float | None = None,
    b2: float | None = None,
    eps_root: float = 0.0,
    num_updates: int = 1,
    num_steps: int | None = None,
) -> Optimizer:
    """Make the optimizer of a player: the experiment's own, changed as the settings of a run say.

    Args:
        settings: of the run, as in `run.OptimizerConfig`: `optimizer`, `schedule`, `warmup_steps`
            and `num_steps`.
        hyper: "b1", "b2", "weight_decay" and "clip_norm", as `build` gets them.
        learning_rate: the player's, at its peak; may be traced.
        name: the experiment's own optimizer, of `OPTIMIZERS`.
        schedule: its own schedule, of `SCHEDULES`; None for a plain number.
        b1: its own decay of the mean of gradients; None for the optimizer's default. A chosen
            optimizer that has none ignores it: `run.settings.OPTIMIZER_READ_WHERE` says where it
            is read.
        b2: the same of squared gradients.
        eps_root: as of `optimizer`.
        num_updates: updates of the player in a step.
        num_steps: steps after which the player's rate is zero; None for all of the run.

    Returns:
        The optimizer.
    """
    if settings.optimizer != "auto":
        name = settings.optimizer
        b1 = None
        b2 = None
    decays = {
        decay: own if hyper[decay] is None else hyper[decay]
        for decay, own in (("b1", b1), ("b2", b2))
        if getattr(OPTIMIZERS[name], decay) is not None
    }
    rate: Number | optax.Schedule = learning_rate
    scheduled = schedule if settings.schedule == "auto" else settings.schedule
    if scheduled is not None or settings.warmup_steps:
        rate = schedules.learning_rate(
            scheduled or "constant",
            learning_rate,
            num_updates * (settings.num_steps if num_steps is None else num_steps),
            num_updates * settings.warmup_steps,
        )
    before = _before_the_rate(
        name,
        decays.get("b1"),
        decays.get("b2"),
        hyper["weight_decay"],
        hyper["clip_norm"],
        eps_root,
    )
    return optax.chain(*before, optax.scale_by_learning_rate(rate))


def _before_the_rate(
    name: str,
    b1: Number | None,
    b2: Number | None,
    weight_decay: Number,
    clip_norm: Number,
    eps_root: float,
) -> list[optax.GradientTransformation]:
    """What an optimizer does with a gradient before the learning rate is applied."""
    rule = OPTIMIZERS[name]
    require(b1 is None or rule.b1 is not None, f"{name} keeps no mean of gradients: leave out b1")
    require(
        b2 is None or rule.b2 is not None,
        f"{name} keeps no mean of squared gradients: leave out b2",
    )
    links = [] if _is_zero(clip_norm) else [_clip(clip_norm)]
    links.append(rule.make(rule.b1 if b1 is None else b1, rule.b2 if b2 is None else b2, eps_root))
    links += [] if _is_zero(weight_decay) else [optax.add_decayed_weights(weight_decay)]
    return links


def _is_zero(number: Number) -> bool:
    """Whether a number is the constant 0, not a traced one."""
    return isinstance(number, float | int) and number == 0


def _clip(limit: Number) -> optax.GradientTransformation:
    """Scale a gradient down to a norm; of a traced limit, 0 is none.

    `optax.clip_by_global_norm` has no number that means no limit. Here the derivative is finite
    too, which games need whose players look through an update: it is taken of the square root and
    of the quotient only if the gradient is too long.
    """

    def clip(updates, params):
        del params
        squares = sum(jnp.sum(jnp.square(at_least_float32(g))) for g in jax.tree.leaves(updates))
        is_long = (limit > 0) & (squares > limit**2)
        norm = jnp.sqrt(jnp.where(is_long, squares, 1.0))
        scale = jnp.where(is_long, limit / norm, 1.0)
        return jax.tree.map(lambda g: (scale * at_least_float32(g)).astype(g.dtype), updates)

    return optax.stateless(clip)
