"""`pilotage store install|status|rollback`: the packs on this vehicle."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pilotage.cli.command import EXIT_CODES, Command
from pilotage.store import Store, StoredPack

_RAW = argparse.RawDescriptionHelpFormatter


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"example: pilotage store install town.region --store /var/lib/pilotage\n{EXIT_CODES}"
    verbs = parser.add_subparsers(dest="store_verb", metavar="VERB", required=True)
    for verb, summary in (
        ("install", "verify a pack, copy it in, and make it current"),
        ("status", "list the packs; the current one first"),
        ("rollback", "make the previous pack current again"),
    ):
        sub = verbs.add_parser(verb, help=summary, description=summary, formatter_class=_RAW)
        region = "town.region " if verb == "install" else ""
        sub.epilog = f"example: pilotage store {verb} {region}--store /var/lib/pilotage --json\n{EXIT_CODES}"
        if verb == "install":
            sub.add_argument("region", type=Path)
        sub.add_argument("--store", type=Path, default=Path("/var/lib/pilotage"), help="(default: %(default)s)")
        sub.add_argument("--json", action="store_true", help="for machines")


def _run(arguments: argparse.Namespace) -> int:
    store = Store(arguments.store, make=arguments.store_verb == "install")
    if arguments.store_verb == "install":
        packs = [store.install(arguments.region)]
    elif arguments.store_verb == "rollback":
        packs = [store.rollback()]
    else:
        packs = store.packs()
    if arguments.json:
        print(json.dumps([_row(pack) for pack in packs], indent=1))
    else:
        for pack in packs:
            mark = "current" if pack.current else "previous" if pack.previous else ""
            print(f"{mark:<9} {pack.name} version {pack.version}  {pack.pack_id[:12]}  {pack.fault or pack.path}")
        if not packs:
            print("no packs: install one with `pilotage store install`")
    return 0


def _row(pack: StoredPack) -> dict[str, object]:
    return {
        "name": pack.name,
        "version": pack.version,
        "pack_id": pack.pack_id,
        "path": str(pack.path),
        "current": pack.current,
        "previous": pack.previous,
        "fault": pack.fault,
    }


COMMAND = Command("store", "the packs on this vehicle: one current, one previous", _configure, _run)
