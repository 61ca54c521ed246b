"""Pages for the eye: the report of a run and the comparison of two, each one HTML file that needs nothing else."""

from refersat.evaluation.page.compare import write_compare_page
from refersat.evaluation.page.report import write_page

__all__ = ["write_compare_page", "write_page"]
