"""What a check of a data set found: counts, and what is missing or wrong, by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_NAMED = 5


@dataclass(slots=True)
class Findings:
    """Collects; a fault makes training wrong or impossible, a note does not."""

    what: str
    counts: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether it can be trained on."""
        return not self.faults

    def fault(self, why: str, names: Iterable[str]) -> None:
        """Note what must be mended."""
        found = list(names)
        if found:
            self.faults.setdefault(why, []).extend(found)

    def note(self, why: str, names: Iterable[str]) -> None:
        """Note what is left out."""
        found = list(names)
        if found:
            self.notes.setdefault(why, []).extend(found)

    def lines(self) -> list[str]:
        """Return it for people: counts, then every fault and note with its first names."""
        out = [f"{self.what}: " + (", ".join(f"{n} {name}" for name, n in self.counts.items()) or "nothing found")]
        for word, group in (("FAULT", self.faults), ("note", self.notes)):
            for why, names in group.items():
                more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                out.append(f"  {word}: {len(names)} {why}: {', '.join(names[:_NAMED])}{more}")
        return out

    def as_json(self) -> dict[str, Any]:
        """Return it for machines; of each fault the count and the first names."""
        groups = {
            word: {why: {"count": len(names), "first": names[:_NAMED]} for why, names in group.items()}
            for word, group in (("faults", self.faults), ("notes", self.notes))
        }
        return {"set": self.what, "ok": self.ok, "counts": self.counts, **groups}
