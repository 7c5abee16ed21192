"""What lies in a data set's folder: every directory is listed once, and no path leads out of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pilotage.errors import ModelError


class Listing:
    """Answers whether files are there without asking for each: 90,000 questions are a few directories."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder")
        self.folder = folder
        self._real = folder.resolve()
        self.kept: dict[str, Any] = {}  # what a data set keeps from one part to the next
        self._names: dict[str, frozenset[str]] = {}

    def path(self, relative: str) -> Path:
        """Return a path below the folder. Split files are not trusted: what leads elsewhere is refused."""
        self._below(relative)
        return self.folder / relative

    def file(self, relative: str) -> Path:
        """Return the path of a file that must be there."""
        path = self._inside(self.path(relative))
        if not path.is_file():
            raise ModelError(f"{path}: missing: is {self.folder} the data set's own folder?")
        return path

    def names(self, directory: str) -> frozenset[str]:
        """Return what a directory holds; nothing where there is none."""
        if directory not in self._names:
            path = self._inside(self.path(directory) if directory else self.folder)
            try:
                with os.scandir(path) as entries:
                    found = list(entries)
            except (FileNotFoundError, NotADirectoryError):
                found = []
            for entry in found:
                if entry.is_symlink():
                    self._inside(path / entry.name)
            self._names[directory] = frozenset(entry.name for entry in found)
        return self._names[directory]

    def has(self, relative: str) -> bool:
        """Whether a file is there."""
        self._below(relative)
        directory, _, name = relative.rpartition("/")
        return name in self.names(directory)

    def lines(self, relative: str) -> list[tuple[int, str]]:
        """Return the lines of a split file that are not empty, each with its number in the file, from 1."""
        path = self.file(relative)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ModelError(f"{path}: not a text file ({error.reason})") from error
        found = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if not found:
            raise ModelError(f"{path}: is empty")
        return found

    def _below(self, relative: str) -> None:
        parts = relative.split("/")
        if not relative.strip("/.") or not parts[0] or ".." in parts or "\\" in relative or "\0" in relative:
            raise ModelError(f"{self.folder}: a split file names {relative!r}, which is not a path below the folder")

    def _inside(self, path: Path) -> Path:
        """Return the path, or refuse one that symbolic links lead out of the folder."""
        try:
            inside = path.resolve().is_relative_to(self._real)
        except (OSError, RuntimeError):  # links that go in a circle
            inside = False
        if not inside:
            raise ModelError(
                f"{path}: a symbolic link leads out of {self.folder}: put the files themselves there, or mount them"
            )
        return path


def whole_number(text: str) -> int | None:
    """Return an id that a path is named by; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
