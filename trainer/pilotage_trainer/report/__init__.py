"""What was measured, as pictures and one page: retrieval sheets, heat maps, curves, tables."""

from __future__ import annotations

from pilotage_trainer.report.page import ReportInput, write_report

__all__ = ["ReportInput", "write_report"]
