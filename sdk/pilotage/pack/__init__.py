"""Region packs: one immutable file with everything a vehicle needs to know of a region."""

from __future__ import annotations

from pilotage.pack.build import BuildConfig, build_pack
from pilotage.pack.manifest import Manifest
from pilotage.pack.region import RegionPack

__all__ = ["BuildConfig", "Manifest", "RegionPack", "build_pack"]
