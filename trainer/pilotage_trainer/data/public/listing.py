"""What lies in a data set's folder: every directory is listed once, and no path leads out of it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from pilotage.errors import ModelError


class Listing:
    """Answers whether files are there without asking for each: 90,000 questions are a few directories."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder")
        self.folder = folder
        self._names: dict[str, frozenset[str]] = {}

    def path(self, relative: str) -> Path:
        """Return a path below the folder. Split files are not trusted: what leads elsewhere is refused."""
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts or "\\" in relative or not pure.parts or "\0" in relative:
            raise ModelError(f"{self.folder}: a split file names {relative!r}, which is not a path below the folder")
        return self.folder / pure

    def names(self, directory: str) -> frozenset[str]:
        """Return what a directory holds; nothing where there is none."""
        if directory not in self._names:
            try:
                with os.scandir(self.path(directory)) as entries:
                    self._names[directory] = frozenset(entry.name for entry in entries)
            except (FileNotFoundError, NotADirectoryError):
                self._names[directory] = frozenset()
        return self._names[directory]

    def has(self, relative: str) -> bool:
        """Whether a file is there."""
        self.path(relative)
        directory, _, name = relative.rpartition("/")
        return name in self.names(directory or ".")

    def text(self, relative: str) -> list[str]:
        """Return the lines of a split file that are not empty."""
        path = self.path(relative)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise ModelError(f"{path}: missing: is {self.folder} the data set's own folder?") from None
        except UnicodeDecodeError as error:
            raise ModelError(f"{path}: not a text file ({error.reason})") from error
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise ModelError(f"{path}: is empty")
        return found
