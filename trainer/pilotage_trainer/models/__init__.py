"""Networks, one a file."""

from __future__ import annotations

from pilotage_trainer.models.frgeo import FrGeo, region_means

__all__ = ["FrGeo", "region_means"]
