"""Networks, one a file; `zoo` is their table."""

from __future__ import annotations

from pilotage_trainer.models.encoder import Encoder, TwoBranch
from pilotage_trainer.models.frgeo import FrGeo, region_means
from pilotage_trainer.models.zoo import MODELS, create

__all__ = ["MODELS", "Encoder", "FrGeo", "TwoBranch", "create", "region_means"]
