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

from pilotage.errors import StoreError
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


class Store:
    """Opens, or makes, the store at a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
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
        with self._lock():
            for orphan in (self.root / "staging").iterdir():
                os.unlink(orphan)
            if not final.is_file():
                self._check_space(source)
                self._copy(source, final)
            self._activate(final)
        return self._stored(final)

    def rollback(self) -> StoredPack:
        """Swap current and previous."""
        with self._lock():
            previous = self.previous()
            if previous is None:
                raise StoreError(f"{self.root}: has no previous pack to go back to: install one")
            RegionPack.open(previous).close()
            self._activate(previous)
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
        return target if target.is_file() else None

    def _stored(self, path: Path) -> StoredPack:
        with RegionPack.open(path, verify=False) as pack:
            manifest = pack.manifest
            return StoredPack(
                path,
                manifest.name,
                manifest.pack_version,
                pack.pack_id,
                path == self.current(),
                path == self.previous(),
            )

    def _check_space(self, source: Path) -> None:
        need, free = source.stat().st_size + _HEADROOM_BYTES, shutil.disk_usage(self.root).free
        if free < need:
            raise StoreError(
                f"{self.root}: {free / 1e6:.0f} MB free, {need / 1e6:.0f} MB needed: make room and try again"
            )

    def _copy(self, source: Path, final: Path) -> None:
        part = self.root / "staging" / f"{final.name}.part"
        try:
            with source.open("rb") as read, part.open("wb") as write:
                shutil.copyfileobj(read, write, _COPY)
                write.flush()
                os.fsync(write.fileno())
            RegionPack.open(part).close()  # what was written, not what was read
            os.rename(part, final)
            sync_folder(final.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StoreError(
                f"{self.root}: cannot store {source.name} ({error.strerror}): the current pack stays"
            ) from error

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
    def _lock(self) -> Iterator[None]:
        with (self.root / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError(f"{self.root}: another installer is at work: wait for it") from error
            yield


def _plain(name: str) -> str:
    """Return a name that is safe as a file's."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("._")[:48] or "pack"
