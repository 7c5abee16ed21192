"""Joins what is said (a profile, the heartbeat, the status text) to the link. Holds no clock, no thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pilotage.values import Fix, TrackState
from pilotage_bridge.dialect import Message
from pilotage_bridge.gps_input import GpsInputConfig, GpsInputProfile
from pilotage_bridge.heartbeat import Heartbeat, HeartbeatConfig, StatusText


class Link(Protocol):
    """Takes messages, returns bytes written."""

    def send(self, message: Message) -> int:
        """Send one message."""


class Profile(Protocol):
    """What one kind of autopilot is told of a fix. GpsInputProfile is the first."""

    @property
    def giving(self) -> bool:
        """Whether positions flow."""

    @property
    def has_given(self) -> bool:
        """Whether they ever did."""

    def messages(self, fix: Fix | None, *, alt_msl_m: float, now_utc_s: float, now_mono_s: float) -> list[Message]:
        """Return what to send now."""


@dataclass(frozen=True, slots=True)
class PublisherConfig:
    """Everything about what is published."""

    gps_input: GpsInputConfig = field(default_factory=GpsInputConfig)
    heartbeat: HeartbeatConfig = field(default_factory=HeartbeatConfig)


class Publisher:
    """Publishes fixes to one autopilot.

    Call it for every fix, and with None at 5 Hz or more when none comes: the heartbeat, the NO_FIX tail and
    the notice of a stalled localiser all live on these calls.
    """

    def __init__(self, link: Link, config: PublisherConfig | None = None, *, profile: Profile | None = None) -> None:
        config = config or PublisherConfig()
        self.profile: Profile = GpsInputProfile(config.gps_input) if profile is None else profile
        self._link = link
        self._heartbeat = Heartbeat(config.heartbeat)
        self._text = StatusText(config.heartbeat)
        self._reported: TrackState | None = None

    @property
    def state(self) -> TrackState | None:
        """What is told to others: the localiser's own word, corrected by whether positions really flow."""
        if self._reported is TrackState.FAULT or (self._reported is None and not self.profile.has_given):
            return self._reported
        positions = (TrackState.TRACKING, TrackState.DEGRADED)
        if self.profile.giving:
            return self._reported if self._reported in positions else TrackState.TRACKING
        if self.profile.has_given:
            return TrackState.LOST
        return TrackState.INIT if self._reported is TrackState.INIT else TrackState.SEARCHING

    def publish(self, fix: Fix | None, alt_msl_m: float, *, now_utc_s: float, now_mono_s: float) -> int:
        """Send what is due and return the bytes written. `now_mono_s` is on the clock of `fix.stamp_ns`.

        `alt_msl_m` is the camera's altitude above mean sea level at the exposure.
        """
        if fix is not None:
            self._reported = fix.state
        messages = self.profile.messages(fix, alt_msl_m=alt_msl_m, now_utc_s=now_utc_s, now_mono_s=now_mono_s)
        written = sum(self._link.send(message) for message in messages)  # the position first: it ages
        for speaker in (self._heartbeat, self._text):
            written += sum(self._link.send(m) for m in speaker.messages(self.state, now_mono_s=now_mono_s))
        return written
