"""One self-contained HTML page that says how good a run is, and where it goes wrong."""

from convscope.report.build import build_report

__all__ = ["build_report"]
