"""Sample4Geo (ICCV 2023): one ConvNeXt-B for both views, its pooled and normalised 1024 numbers, no projection."""

from __future__ import annotations

from pilotage_trainer.models.gap import Gap


class Sample4Geo(Gap):
    """The branch is GAP's; what makes the system is shared weights, symmetric InfoNCE and how batches are drawn."""
