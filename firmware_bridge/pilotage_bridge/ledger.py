"""What a listener heard, datagram by datagram. Decodes with pymavlink; shares no code with our sender."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

FORMAT = "pilotage-listen/1"
MAX_ROWS = 200_000  # of GPS_INPUT kept: more than five hours at 10 Hz
_MAVLINK2 = 0xFD
_FIX_3D = 3


class Ledger:
    """Counts messages and keeps every GPS_INPUT. Any bytes may be given to it; the bad are counted.

    Each datagram is parsed for itself: a MAVLink sender never splits a packet over two, so that a truncated
    or altered one cannot take the next one down with it.
    """

    def __init__(self) -> None:
        self.datagrams = self.bytes = 0
        self.bad_packets = 0  # wrong checksum, wrong flags, garbage between packets
        self.truncated_packets = 0  # the datagram ended first
        self.unknown_packets = 0  # an id that the dialect lacks: its checksum cannot be verified
        self.mavlink1_packets = 0
        self.sequence_gaps = self.sequence_lost = self.out_of_order = 0
        self.messages: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.texts: list[str] = []
        self.gps_input: list[dict[str, Any]] = []
        self.gps_input_not_kept = 0
        self.last_position: dict[str, Any] | None = None
        self.first_s = self.last_s = math.nan
        self._sequence: dict[tuple[int, int], int] = {}

    def take(self, datagram: bytes, *, time_s: float) -> None:
        """Note one datagram and when it came."""
        if self.datagrams == 0:
            self.first_s = time_s
        self.last_s = time_s
        self.datagrams += 1
        self.bytes += len(datagram)
        for message in self._packets(datagram):
            self._count(message)
            if message.get_type() == "GPS_INPUT":
                self._keep(message, time_s)
            elif message.get_type() == "STATUSTEXT" and len(self.texts) < 1000:
                self.texts.append(message.text)

    def _packets(self, datagram: bytes) -> Iterator[Any]:
        """Yield the packets whose checksum holds."""
        parser = mavlink.MAVLink(None)
        parser.robust_parsing = True
        rest = datagram
        while True:
            try:
                message = parser.parse_char(rest)
            except Exception:  # whatever a parser of hostile bytes may raise, the listener lives on
                self.bad_packets += 1
                return
            rest = b""
            if message is None:
                break
            kind = message.get_type()
            if kind == "BAD_DATA":
                self.bad_packets += 1
            elif kind.startswith("UNKNOWN_"):
                self.unknown_packets += 1
            else:
                yield message
        if parser.buf_len() > 0:
            self.truncated_packets += 1

    def _count(self, message: Any) -> None:
        self.messages[message.get_type()] += 1
        self.mavlink1_packets += message.get_msgbuf()[0] != _MAVLINK2
        source = (message.get_srcSystem(), message.get_srcComponent())
        self.sources[f"{source[0]}/{source[1]}"] += 1
        step = (message.get_seq() - self._sequence.get(source, message.get_seq() - 1)) % 256
        if 1 <= step < 128:
            self._sequence[source] = message.get_seq()
            self.sequence_gaps += step > 1
            self.sequence_lost += step - 1
        else:
            self.out_of_order += 1

    def _keep(self, message: Any, time_s: float) -> None:
        row = {
            "received_s": time_s,
            "time_usec": message.time_usec,
            "time_week": message.time_week,
            "time_week_ms": message.time_week_ms,
            "fix_type": message.fix_type,
            "lat": message.lat / 1e7,
            "lon": message.lon / 1e7,
            "alt_m": _number(message.alt),
            "eph_m": _number(message.horiz_accuracy),
            "velocity_north_m_s": None if message.ignore_flags & 8 else _number(message.vn),
            "velocity_east_m_s": None if message.ignore_flags & 8 else _number(message.ve),
            "ignore_flags": message.ignore_flags,
        }
        if message.fix_type >= _FIX_3D:
            self.last_position = row
        if len(self.gps_input) < MAX_ROWS:
            self.gps_input.append(row)
        else:
            self.gps_input_not_kept += 1

    def report(self) -> dict[str, Any]:
        """Return everything heard, ready for JSON."""
        return {
            "format": FORMAT,
            "decoder": mavlink.__name__,
            "first_s": _number(self.first_s),
            "last_s": _number(self.last_s),
            "datagrams": self.datagrams,
            "bytes": self.bytes,
            "decoded": sum(self.messages.values()),
            "messages": dict(sorted(self.messages.items())),
            "sources": dict(sorted(self.sources.items())),
            "bad_packets": self.bad_packets,
            "truncated_packets": self.truncated_packets,
            "unknown_packets": self.unknown_packets,
            "mavlink1_packets": self.mavlink1_packets,
            "sequence_gaps": self.sequence_gaps,
            "sequence_lost": self.sequence_lost,
            "out_of_order": self.out_of_order,
            "texts": self.texts,
            "last_position": self.last_position,
            "gps_input_not_kept": self.gps_input_not_kept,
            "gps_input": self.gps_input,
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
