"""The report: what happened to everyone, in figures that add up."""

from cadenza.runtime.report.facts import report, units
from cadenza.runtime.report.figures import LogCounts, Quarantined, Report

__all__ = ["LogCounts", "Quarantined", "Report", "report", "units"]
