"""The store on the vehicle: packs by content, one current, one previous. Pull the plug at any byte and one is good.

<root>/packs/<name>-<version>-<id>.region     immutable, verified, synced
<root>/current -> packs/...                   swapped by a rename
<root>/previous -> packs/...
<root>/staging/                               half-copied files; emptied at the start of every install
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pilotage.errors import PackError, StoreError
from pilotage.pack import RegionPack
from pilotage.pack.container import sync_folder

_HEADROOM_BYTES = 64 << 20
_COPY = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredPack:
    """One pack in the store."""

    path: Path
    name: str
    version: int
    pack_id: str
    current: bool
    previous: bool
    fault: str = ""  # why it cannot be opened; its name and version are then unknown


class Store:
    """Opens, or makes, the store at a folder."""

    def __init__(self, root: Path, *, make: bool = True) -> None:
        self.root = root
        if not make and not (root / "packs").is_dir():
            raise StoreError(f"{root}: no store there: check the folder, or install a pack to make one")
        try:
            for folder in (root / "packs", root / "staging"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{root}: cannot make a store there ({error.strerror}): choose a folder you may write"
            ) from error

    def install(self, source: Path) -> StoredPack:
        """Verify, copy, verify the copy, then make it current."""
        with RegionPack.open(source) as pack:
            name, version, pack_id = pack.manifest.name, pack.manifest.pack_version, pack.pack_id
        final = self.root / "packs" / f"{_plain(name)}-{version}-{pack_id[:12]}.region"
        with self._lock(), self._changing(f"install {source.name}"):
            for orphan in (self.root / "staging").iterdir():
                if orphan.is_dir() and not orphan.is_symlink():
                    shutil.rmtree(orphan)
                else:
                    os.unlink(orphan)
            if self._fault(final, pack_id):  # absent, or damaged since it was stored
                self._check_space(source)
                self._copy(source, final, pack_id)
            self._activate(final)
        return self._stored(final)

    def rollback(self) -> StoredPack:
        """Swap current and previous."""
        with self._lock(), self._changing("roll back"):
            current, previous = self.current(), self.previous()
            if previous is None or previous == current:
                raise StoreError(f"{self.root}: has no previous pack to go back to: install one")
            RegionPack.open(previous).close()
            self._link("current", previous)  # first: cut after it, the rollback has happened and repeats nothing
            if current is not None:
                self._link("previous", current)
        return self._stored(previous)

    def current(self) -> Path | None:
        """Return the pack to fly with."""
        return self._target("current")

    def previous(self) -> Path | None:
        """Return the pack to go back to."""
        return self._target("previous")

    def packs(self) -> list[StoredPack]:
        """Return what the store holds, current first."""
        found = [self._stored(path) for path in sorted((self.root / "packs").glob("*.region"))]
        return sorted(found, key=lambda p: (not p.current, not p.previous))

    def _target(self, link: str) -> Path | None:
        path = self.root / link
        if not path.is_symlink():
            return None
        target = self.root / os.readlink(path)
        return target if target.parent == self.root / "packs" and target.is_file() else None

    def _stored(self, path: Path) -> StoredPack:
        roles = path == self.current(), path == self.previous()
        try:
            with RegionPack.open(path, verify=False) as pack:
                return StoredPack(path, pack.manifest.name, pack.manifest.pack_version, pack.pack_id, *roles)
        except PackError as error:
            return StoredPack(path, path.stem, 0, "", *roles, fault=str(error))

    @staticmethod
    def _fault(path: Path, pack_id: str) -> str:
        """Return what is wrong with a stored pack, or nothing."""
        try:
            with RegionPack.open(path) as pack:
                return "" if pack.pack_id == pack_id else f"{path}: is another pack than its name says"
        except PackError as error:
            return str(error)

    def _check_space(self, source: Path) -> None:
        need, free = source.stat().st_size + _HEADROOM_BYTES, shutil.disk_usage(self.root).free
        if free < need:
            raise StoreError(
                f"{self.root}: {free / 1e6:.0f} MB free, {need / 1e6:.0f} MB needed: make room and try again"
            )

    def _copy(self, source: Path, final: Path, pack_id: str) -> None:
        part = self.root / "staging" / f"{final.name}.part"
        try:
            with source.open("rb") as read, part.open("wb") as write:
                shutil.copyfileobj(read, write, _COPY)
                write.flush()
                os.fsync(write.fileno())
            fault = self._fault(part, pack_id)  # what was written, not what was read
            if fault:
                raise StoreError(f"{self.root}: the copy is not what was sent ({fault}): the current pack stays")
            os.rename(part, final)
            sync_folder(final.parent)
        except (OSError, StoreError):
            part.unlink(missing_ok=True)
            raise

    def _activate(self, pack: Path) -> None:
        """Point previous at what was current, then current at the pack; each by an atomic rename."""
        before = self.current()
        if before is not None and before != pack:
            self._link("previous", before)
        self._link("current", pack)

    def _link(self, name: str, target: Path) -> None:
        fresh = self.root / f".{name}.new"
        fresh.unlink(missing_ok=True)
        os.symlink(target.relative_to(self.root), fresh)
        os.rename(fresh, self.root / name)
        sync_folder(self.root)

    @contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            current = self.current()
            stays = f"{current.name} is current" if current else "no pack is current"
            raise StoreError(f"{self.root}: cannot {what} ({error.strerror}): {stays}") from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            handle = (self.root / ".lock").open("w")
        except OSError as error:
            raise StoreError(f"{self.root}: cannot write there ({error.strerror}): run as its owner") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError(f"{self.root}: another installer is at work: wait for it") from error
            yield


def _plain(name: str) -> str:
    """Return a name that is safe as a file's."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("._")[:48] or "pack"
