"""Names that several experiments offer; a test holds each list against its registry."""

from typing import Literal

Binarization = Literal["dynamic", "static", "threshold"]
FeatureExtractor = Literal["classifier", "inception", "pixels"]
GanLoss = Literal["hinge", "least_squares", "minimax", "non_saturating", "wasserstein"]
Penalty = Literal["dragan", "gradient_penalty", "r1", "r2"]
