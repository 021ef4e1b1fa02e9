"""What the functions of `elbo_surgery` return."""

from typing import NamedTuple

from dgm_jax.core import Array


class Surgery(NamedTuple):
    """average_kl = mutual_information + marginal_kl, scalars in nats.

    Attributes:
        average_kl: mean over the data of KL(q(z | x_i) || p(z)).
        mutual_information: I(i; z).
        marginal_kl: KL(q(z) || p(z)).
    """

    average_kl: Array
    mutual_information: Array
    marginal_kl: Array


class Term(NamedTuple):
    """A mean over the data and its standard error.

    Attributes:
        mean: in nats.
        standard_error: std / sqrt(N) of the values per data point, the error of taking these points
            and draws for all. The posteriors that make up q(z) count as given.
    """

    mean: Array
    standard_error: Array


class SurgeryTerms(NamedTuple):
    """Every part of the ELBO; those whose input was not given are None.

    reconstruction - average_kl is the ELBO; average_kl = mutual_information + marginal_kl; and for
    a prior that factorizes marginal_kl = total_correlation + sum over d of dimension_kl.

    Attributes:
        reconstruction: log p(x | z).
        average_kl: KL(q(z | x_i) || p(z)).
        mutual_information: I(i; z).
        marginal_kl: KL(q(z) || p(z)).
        total_correlation: KL(q(z) || prod_d q(z_d)).
        dimension_kl: KL(q(z_d) || p(z_d)), whose `mean` is [D].
    """

    reconstruction: Term | None
    average_kl: Term
    mutual_information: Term
    marginal_kl: Term
    total_correlation: Term | None
    dimension_kl: Term | None


class ActiveUnits(NamedTuple):
    """Which latent dimensions the encoder uses.

    Attributes:
        variance: [D], of the posterior means over the data.
        active: bool[D].
        count: int32[], the number of active dimensions.
    """

    variance: Array
    active: Array
    count: Array
