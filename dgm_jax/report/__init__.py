"""What a run shows: intervals over seeds, the table, and the report in one HTML file."""

from dgm_jax.report import statistics
from dgm_jax.report.page import format_table, write_report

__all__ = ["format_table", "statistics", "write_report"]
