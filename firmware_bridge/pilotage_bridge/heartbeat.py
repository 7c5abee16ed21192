"""What we say of ourselves: HEARTBEAT every second, STATUSTEXT on a change. Pure: time is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pilotage.values import TrackState
from pilotage_bridge.dialect import Message, mavlink

_SYSTEM_STATUS = {
    None: mavlink.MAV_STATE_BOOT,  # the localiser has not said anything yet
    TrackState.INIT: mavlink.MAV_STATE_CALIBRATING,  # "not flight-ready"
    TrackState.SEARCHING: mavlink.MAV_STATE_STANDBY,
    TrackState.TRACKING: mavlink.MAV_STATE_ACTIVE,
    TrackState.DEGRADED: mavlink.MAV_STATE_ACTIVE,  # positions still flow; their accuracy tells
    TrackState.LOST: mavlink.MAV_STATE_CRITICAL,
}

_FIX, _SEARCH, _LOST, _FAULT = "fix acquired", "searching for a fix", "fix lost", "fault, heartbeat stops"
_TEXT = {
    TrackState.INIT: _SEARCH,
    TrackState.SEARCHING: _SEARCH,
    TrackState.TRACKING: _FIX,
    TrackState.DEGRADED: _FIX,
    TrackState.LOST: _LOST,
    TrackState.FAULT: _FAULT,
}
_SEVERITY = {
    _FIX: mavlink.MAV_SEVERITY_NOTICE,
    _SEARCH: mavlink.MAV_SEVERITY_INFO,
    _LOST: mavlink.MAV_SEVERITY_WARNING,
    _FAULT: mavlink.MAV_SEVERITY_CRITICAL,
}
TEXT_CHARS = 50


@dataclass(frozen=True, slots=True)
class HeartbeatConfig:
    """How often we speak of ourselves."""

    period_s: float = 1.0
    min_text_gap_s: float = 1.0  # between two texts; the latest state is told when it has passed

    def __post_init__(self) -> None:
        if not (0 < self.period_s < math.inf and 0 <= self.min_text_gap_s < math.inf):
            raise ValueError(f"period_s {self.period_s} and min_text_gap_s {self.min_text_gap_s} must be positive")


class Heartbeat:
    """Says once a second that we live and how. Silent on FAULT, which is how others learn of one.

    It speaks when it is called, from the loop that localises and never from a thread of its own: a heartbeat
    that outlives what it stands for is a lie.
    """

    def __init__(self, config: HeartbeatConfig | None = None) -> None:
        self.config = config or HeartbeatConfig()
        self._due_mono_s = -math.inf

    def messages(self, state: TrackState | None, *, now_mono_s: float) -> list[Message]:
        """Return a HEARTBEAT if one is due."""
        if state is TrackState.FAULT or now_mono_s < self._due_mono_s - 1e-6:
            return []
        # Count on from when it was due, so that the rate is ours and not the caller's; after a gap, from now.
        due_s = self._due_mono_s + self.config.period_s
        self._due_mono_s = due_s if due_s > now_mono_s else now_mono_s + self.config.period_s
        return [
            mavlink.MAVLink_heartbeat_message(
                type=mavlink.MAV_TYPE_ONBOARD_CONTROLLER,
                autopilot=mavlink.MAV_AUTOPILOT_INVALID,
                base_mode=0,
                custom_mode=0,
                system_status=_SYSTEM_STATUS[state],
                mavlink_version=3,
            )
        ]


class StatusText:
    """Tells a person what changed, once: searching, acquired, lost, fault."""

    def __init__(self, config: HeartbeatConfig | None = None) -> None:
        self.config = config or HeartbeatConfig()
        self._told: str | None = None
        self._told_mono_s = -math.inf

    def messages(self, state: TrackState | None, *, now_mono_s: float) -> list[Message]:
        """Return a STATUSTEXT if the state differs from the one told last."""
        if state is None or _TEXT[state] == self._told:
            return []
        text = _TEXT[state]
        # A fault is told at once: nothing follows it.
        if text != _FAULT and now_mono_s - self._told_mono_s < self.config.min_text_gap_s - 1e-6:
            return []
        self._told, self._told_mono_s = text, now_mono_s
        return [mavlink.MAVLink_statustext_message(_SEVERITY[text], encode_text(f"Pilotage: {text}"))]


def encode_text(text: str) -> bytes:
    """Return the text as STATUSTEXT carries it: 50 bytes of ASCII at most."""
    return text.encode("ascii", "replace")[:TEXT_CHARS]
