"""What a run shows: intervals over seeds, the table, and the report in one HTML file."""

from dgm_jax.report import statistics, summaries
from dgm_jax.report.page import write_report
from dgm_jax.report.table import format_table

__all__ = ["format_table", "statistics", "summaries", "write_report"]
