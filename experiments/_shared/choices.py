"""Names that several experiments offer; a test compares each list with its registry."""

from typing import Literal

Binarization = Literal["dynamic", "static", "threshold"]
Estimator = Literal[
    "exact",
    "score_function",
    "score_function_leave_one_out",
    "nvil",
    "vimco",
    "muprop",
    "rebar",
    "relax",
    "disarm",
    "straight_through",
    "gumbel_softmax",
    "straight_through_gumbel_softmax",
    "gumbel_rao",
    "reinmax",
]
FeatureExtractor = Literal["classifier", "inception", "pixels"]
GanLoss = Literal["hinge", "least_squares", "minimax", "non_saturating", "wasserstein"]
Penalty = Literal["dragan", "gradient_penalty", "r1", "r2"]
Precision = Literal["float32", "bfloat16"]
