"""What a run shows: intervals over seeds, tables, the report in one HTML file, and several runs
side by side."""

from dgm_jax.report import statistics, summaries
from dgm_jax.report.comparison import compare
from dgm_jax.report.page import write_report
from dgm_jax.report.table import format_table

__all__ = ["compare", "format_table", "statistics", "summaries", "write_report"]
