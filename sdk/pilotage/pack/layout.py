"""Where every byte of a pack lies: a function of the members' names and sizes, so that nothing can hide between them.

The file is an ordinary ZIP of stored members (APPNOTE 4.3), written with fixed times, and each member's data starts at
a multiple of 64 bytes: the local header is filled up with an extra field. Large files take ZIP64's fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

ALIGN = 64
_EXTRA_ID = 0xD935  # alignment padding, as other tools use it
_LIMIT = 0x7FFFFFFF  # beyond which zipfile, too, takes ZIP64's fields
_MAX_COUNT = 0xFFFF
_DATE_1980 = 0x21
_MODE = 0o644 << 16
_LOCAL, _CENTRAL = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L")
LOCAL_BYTES = _LOCAL.size


@dataclass(frozen=True, slots=True)
class Slot:
    """One member's place: its header, and its bytes right after it."""

    name: str
    size: int
    header_at: int

    @property
    def _wide(self) -> bool:
        return self.size > _LIMIT

    @property
    def data_at(self) -> int:
        """Where the member's own bytes start."""
        bare = self.header_at + LOCAL_BYTES + len(self.name) + (20 if self._wide else 0) + 4
        return bare + -bare % ALIGN

    @property
    def end(self) -> int:
        """Where the next header starts."""
        return self.data_at + self.size

    def local_header(self, crc: int) -> bytes:
        """Return what stands before the member's bytes."""
        sizes = struct.pack("<2H2Q", 1, 16, self.size, self.size) if self._wide else b""
        extra = sizes + self._padding()
        size, version = (0xFFFFFFFF, 45) if self._wide else (self.size, 20)
        fixed = _LOCAL.pack(
            b"PK\x03\x04", version, 0, 0, 0, _DATE_1980, crc, size, size, len(self.name), len(extra)
        )  # fmt: skip
        return fixed + self.name.encode("ascii") + extra

    def entry(self, crc: int) -> bytes:
        """Return the member's line in the directory at the end."""
        far = self.header_at > _LIMIT
        wide = [self.size, self.size] * self._wide + [self.header_at] * far
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        extra += self._padding()
        size, version = 0xFFFFFFFF if self._wide else self.size, 45 if wide else 20
        at = 0xFFFFFFFF if far else self.header_at
        fixed = _CENTRAL.pack(
            b"PK\x01\x02", version | 3 << 8, version, 0, 0, 0, _DATE_1980, crc, size, size,
            len(self.name), len(extra), 0, 0, 0, _MODE, at,
        )  # fmt: skip
        return fixed + self.name.encode("ascii") + extra

    def _padding(self) -> bytes:
        bare = self.header_at + LOCAL_BYTES + len(self.name) + (20 if self._wide else 0) + 4
        count = -bare % ALIGN
        return struct.pack("<2H", _EXTRA_ID, count) + bytes(count)


def place(members: Iterable[tuple[str, int]], *, start: int = 0) -> list[Slot]:
    """Lay (name, size) out one after the other."""
    slots = []
    for name, size in members:
        slots.append(Slot(name, size, start))
        start = slots[-1].end
    return slots


def directory(slots: list[Slot], crcs: list[int]) -> bytes:
    """Return the end of the file: what a ZIP reader looks at first."""
    entries = b"".join(slot.entry(crc) for slot, crc in zip(slots, crcs, strict=True))
    count, size, at = len(slots), len(entries), slots[-1].end
    wide = b""
    if count > _MAX_COUNT or size > _LIMIT or at > _LIMIT:
        wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, at)
        wide += struct.pack("<4sLQL", b"PK\x06\x07", 0, at + size, 1)
        count, size, at = min(count, 0xFFFF), min(size, 0xFFFFFFFF), min(at, 0xFFFFFFFF)
    return entries + wide + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, at, 0)


def directory_bytes(slots: list[Slot]) -> int:
    """Return how long the directory is, whatever the checksums."""
    return len(directory(slots, [0] * len(slots)))
