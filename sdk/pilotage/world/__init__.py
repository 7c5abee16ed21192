"""Worlds without a field test: a synthetic region, cameras over it, flights with known truth.

Read generate.py first, then nadir.py, then flight.py. A seed and a config give the same bytes every time.
"""

from __future__ import annotations

from pilotage.world.flight import FlightPlan, SensorNoise, simulate
from pilotage.world.generate import WorldConfig, make_world
from pilotage.world.ground import Panorama, render_ground
from pilotage.world.look import Look
from pilotage.world.nadir import Pose, render_nadir
from pilotage.world.world import World

__all__ = [
    "FlightPlan",
    "Look",
    "Panorama",
    "Pose",
    "SensorNoise",
    "World",
    "WorldConfig",
    "make_world",
    "render_ground",
    "render_nadir",
    "simulate",
]
