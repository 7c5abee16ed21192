"""The file itself: a ZIP with stored members, each at a multiple of 64 bytes, so that numpy maps them in place."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pilotage.errors import PackError
from pilotage.pack.layout import directory, place
from pilotage.pack.manifest import MANIFEST, MEMBER_NAME, SIGNATURES, Manifest, Member

_MAX_MANIFEST = 64 << 20
_COPY = 1 << 20


def sha256_of(path: Path) -> Member:
    """Return the size and hash of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_COPY):
            digest.update(chunk)
            size += len(chunk)
    return Member(size, digest.hexdigest())


def write_container(output: Path, manifest: Manifest, members: Mapping[str, Path]) -> None:
    """Write the pack beside its final name, sync it, and rename it into place."""
    part = output.with_name(output.name + ".part")
    try:
        _write(part, manifest.to_bytes(), members)
        part.replace(output)
        sync_folder(output.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise PackError(f"{output}: cannot write the pack ({error.strerror})") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(part: Path, manifest: bytes, members: Mapping[str, Path]) -> None:
    small = {MANIFEST: manifest, SIGNATURES: b"[]"}
    sizes = [(name, len(data)) for name, data in small.items()]
    slots = place([*sizes, *((name, members[name].stat().st_size) for name in sorted(members))])
    crcs = []
    with part.open("wb") as out:
        for slot in slots:
            out.seek(slot.data_at)
            if slot.name in small:
                out.write(small[slot.name])
                crcs.append(zlib.crc32(small[slot.name]))
            else:
                crcs.append(_copy(members[slot.name], out))
            out.seek(slot.header_at)
            out.write(slot.local_header(crcs[-1]))
        out.seek(slots[-1].end)
        out.write(directory(slots, crcs))
        out.flush()
        os.fsync(out.fileno())


def _copy(source: Path, out: BinaryIO) -> int:
    """Append a file; return its CRC-32, which ZIP readers want."""
    crc = 0
    with source.open("rb") as stream:
        while chunk := stream.read(_COPY):
            out.write(chunk)
            crc = zlib.crc32(chunk, crc)
    return crc


def sync_folder(folder: Path) -> None:
    """Make a rename inside the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Container:
    """A pack file mapped into memory. `verify` must pass before anything but the manifest is used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise PackError(f"{path}: no such pack") from error
        except (OSError, ValueError) as error:
            raise PackError(f"{path}: cannot read the pack ({error})") from error
        self._data = memoryview(self._map)
        try:
            self._spans = self._directory()
            start, size = self._spans.get(MANIFEST, (0, 0))
            if not 0 < size <= _MAX_MANIFEST or SIGNATURES not in self._spans:
                raise PackError(f"{path}: not a region pack (no manifest): build one with `pilotage pack build`")
            self.manifest_bytes = bytes(self._data[start : start + size])
            self._check_crc(MANIFEST)  # all else hangs on it, and no hash holds it until packs are signed
            self._check_crc(SIGNATURES)
            self.manifest = Manifest.from_bytes(self.manifest_bytes, source=str(path))
            self._check_names()
        except BaseException:
            self.close()
            raise

    def _directory(self) -> dict[str, tuple[int, int]]:
        """Return name -> (offset, size), having believed nothing that the bytes do not bear out."""
        size = len(self._data)
        if size < 22 or bytes(self._data[:4]) != b"PK\x03\x04":
            raise PackError(f"{self.path}: not a region pack: build one with `pilotage pack build`")
        if bytes(self._data[-22:-18]) != b"PK\x05\x06":
            raise PackError(f"{self.path}: truncated or altered, {size} bytes without an end: copy the pack again")
        try:
            with zipfile.ZipFile(self.path) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, OSError, EOFError, NotImplementedError) as error:
            raise PackError(f"{self.path}: truncated or altered ({error}): copy the pack again") from error
        spans: dict[str, tuple[int, int]] = {}
        self._crcs = {info.filename: info.CRC for info in infos}
        for info in infos:
            name = info.filename
            plain = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
            if not plain or info.flag_bits & 0x1 or not MEMBER_NAME.fullmatch(name) or name in spans:
                raise PackError(f"{self.path}: member {name!r} has no place in a region pack: do not use this file")
            spans[name] = (self._data_offset(info), info.file_size)
        end = 0
        for start, length in sorted(spans.values()):
            if start < end or start + length > size:
                raise PackError(f"{self.path}: its members overlap or leave the file: copy the pack again")
            end = start + length
        return spans

    def _data_offset(self, info: zipfile.ZipInfo) -> int:
        at = info.header_offset
        header = bytes(self._data[at : at + 30])
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise PackError(f"{self.path}: member {info.filename!r} is not where it should be: copy the pack again")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        if bytes(self._data[at + 30 : at + 30 + name_length]) != info.filename.encode():
            raise PackError(f"{self.path}: member {info.filename!r} has two names: do not use this file")
        return int(at + 30 + name_length + extra_length)

    def _check_names(self) -> None:
        promised = {MANIFEST, SIGNATURES, *self.manifest.members}
        for name in sorted(promised ^ set(self._spans)):
            what = "is missing" if name in promised else "is not in the manifest"
            raise PackError(f"{self.path}: member {name!r} {what}: copy the pack again")

    def verify(self) -> None:
        """Check the size and the hash of every member."""
        for name, member in self.manifest.members.items():
            data = self.view(name)
            if len(data) != member.size:
                raise PackError(f"{self.path}: {name!r} has {len(data)} bytes, not {member.size}: copy the pack again")
            if hashlib.sha256(data).hexdigest() != member.sha256:
                raise PackError(f"{self.path}: {name!r} was altered (its sha256 differs): copy the pack again")

    def _check_crc(self, name: str) -> None:
        if zlib.crc32(self.view(name)) != self._crcs[name]:
            raise PackError(f"{self.path}: {name!r} was altered (its checksum differs): copy the pack again")

    def verify_rest(self) -> None:
        """Check the bytes that no hash covers, headers, padding and directory: all of them follow from the manifest."""
        signatures = self._spans[SIGNATURES][1]
        sizes = [(MANIFEST, len(self.manifest_bytes)), (SIGNATURES, signatures)]
        slots = place(sizes + sorted((name, member.size) for name, member in self.manifest.members.items()))
        crcs = [self._crcs[slot.name] for slot in slots]
        whole = self.manifest.to_bytes() == self.manifest_bytes
        for slot, crc in zip(slots, crcs, strict=True):
            whole = whole and self._data[slot.header_at : slot.data_at] == slot.local_header(crc)
        if not whole or self._data[slots[-1].end :] != directory(slots, crcs):
            raise PackError(f"{self.path}: was altered or packed again, it is not as it was built: copy the pack again")

    def view(self, name: str) -> memoryview:
        """Return a member's bytes in place."""
        try:
            start, size = self._spans[name]
        except KeyError:
            raise PackError(f"{self.path}: member {name!r} is missing: build the pack again") from None
        return self._data[start : start + size]

    def __contains__(self, name: str) -> bool:
        return name in self._spans

    def close(self) -> None:
        """Unmap; arrays that still look into the file keep it mapped until they go."""
        self._data.release()
        with suppress(BufferError):
            self._map.close()
