"""The way out to the autopilot: packs messages as MAVLink 2, writes them to a port, counts what happened."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from pilotage.errors import LinkError
from pilotage_bridge.dialect import Message, mavlink
from pilotage_bridge.port import Port, open_port

VISUAL_INERTIAL_ODOMETRY = 197


@dataclass(slots=True)
class LinkCounts:
    """What became of the messages given to a link."""

    messages: int = 0
    bytes: int = 0
    dropped: int = 0  # the port would have blocked, or is gone


class MavlinkOut:
    """A MAVLink 2 sender for one thread. Never blocks: what the port cannot take now is dropped, counted.

    `system_id` is the vehicle's own (we are one of its components). Everything sent goes through one packer,
    which is where a signing key will sit.
    """

    def __init__(
        self,
        uri: str,
        *,
        system_id: int = 1,
        component_id: int = VISUAL_INERTIAL_ODOMETRY,
        port: Port | None = None,
    ) -> None:
        if not (1 <= system_id <= 255 and 1 <= component_id <= 255):
            raise LinkError(f"system id {system_id}, component id {component_id}: give numbers from 1 to 255")
        self.uri = uri
        self.counts = LinkCounts()
        self._packer = mavlink.MAVLink(None, srcSystem=system_id, srcComponent=component_id)
        self._port = open_port(uri) if port is None else port

    def send(self, message: Message) -> int:
        """Send one message and return the bytes written, 0 if it was dropped."""
        frame = bytes(message.pack(self._packer))
        # The number moves on with a dropped message too: the gap tells the receiver.
        self._packer.seq = (self._packer.seq + 1) % 256
        if not self._port.write(frame):
            self.counts.dropped += 1
            return 0
        self.counts.messages += 1
        self.counts.bytes += len(frame)
        return len(frame)

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def __enter__(self) -> MavlinkOut:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
