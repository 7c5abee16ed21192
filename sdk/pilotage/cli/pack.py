"""`pilotage pack build|info|verify`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from pilotage import models
from pilotage.cli.command import EXIT_CODES, Command
from pilotage.engine import open_engine
from pilotage.maps import open_map
from pilotage.pack import BuildConfig, RegionPack, build_pack
from pilotage.pack.build import Imagery
from pilotage.pack.manifest import Manifest

_DEFAULT = BuildConfig()
_RAW = argparse.RawDescriptionHelpFormatter


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"example: pilotage pack build town.tif -o town.region --model nadir-512\n{EXIT_CODES}"
    verbs = parser.add_subparsers(dest="pack_verb", metavar="VERB", required=True)
    summary = "build a region pack from a GeoTIFF, or from a picture and its corners"
    build = verbs.add_parser("build", help=summary, description=summary, formatter_class=_RAW)
    build.epilog = (
        "example: pilotage pack build town.png --corners corners.json -o town.region --model nadir-512 --tile-m 100\n"
        f"{EXIT_CODES}"
    )
    build.add_argument("map", type=Path, help="GeoTIFF, PNG or JPEG")
    build.add_argument("-o", "--output", type=Path, required=True, help="the .region to write")
    build.add_argument("--model", default="nadir-512", help="a shipped model or an .onnx (default: %(default)s)")
    build.add_argument("--corners", type=Path, help="JSON with north, west, south, east in WGS84 degrees")
    build.add_argument(
        "--tile-m", type=float, default=_DEFAULT.tile_m, help="ground size of a tile (default: %(default)s)"
    )
    build.add_argument("--stride-m", type=float, help="distance between tiles (default: a third of the tile)")
    build.add_argument("--name", help="of the region (default: the output's name)")
    build.add_argument("--pack-version", type=int, default=1, help="rises with every new pack (default: %(default)s)")
    build.add_argument("--source", default="unknown", help="of the imagery (default: %(default)s)")
    build.add_argument("--date", default="unknown", help="of the imagery (default: %(default)s)")
    build.add_argument("--licence", default="unknown", help="of the imagery (default: %(default)s)")
    build.add_argument("--threads", type=int, default=2, help="for the encoder (default: %(default)s)")
    build.add_argument("--json", action="store_true", help="for machines")
    for verb, summary in (
        ("info", "say what a pack is"),
        ("verify", "check every byte of a pack and run its self-test"),
    ):
        sub = verbs.add_parser(verb, help=summary, description=summary, formatter_class=_RAW)
        sub.epilog = f"example: pilotage pack {verb} town.region --json\n{EXIT_CODES}"
        sub.add_argument("region", type=Path)
        sub.add_argument("--json", action="store_true", help="for machines")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.pack_verb == "build":
        return _build(arguments)
    with RegionPack.open(arguments.region) as pack:
        facts = _facts(arguments.region, pack.manifest, pack.pack_id)
        if arguments.pack_verb == "verify":
            with open_engine(pack.query_model()) as engine:
                facts["self_test_cosine"] = round(pack.self_test(engine), 5)
    _print(facts, as_json=arguments.json)
    return 0


def _build(arguments: argparse.Namespace) -> int:
    model = models.find(arguments.model)
    stride_m = arguments.stride_m if arguments.stride_m is not None else arguments.tile_m * 0.33
    config = BuildConfig(tile_m=arguments.tile_m, stride_m=stride_m)
    source = open_map(arguments.map, corners=arguments.corners)
    try:
        with open_engine(model, threads=arguments.threads) as engine:
            build_pack(
                source,
                arguments.output,
                engine=engine,
                model=model.read_bytes(),
                name=arguments.name or arguments.output.stem,
                pack_version=arguments.pack_version,
                imagery=Imagery(arguments.source, arguments.date, arguments.licence),
                config=config,
            )
    finally:
        source.close()
    with RegionPack.open(arguments.output) as pack:
        _print(_facts(arguments.output, pack.manifest, pack.pack_id), as_json=arguments.json)
    return 0


def _facts(path: Path, manifest: Manifest, pack_id: str) -> dict[str, object]:
    facts: dict[str, object] = asdict(manifest)
    facts.pop("members")
    facts["contract"] = json.loads(manifest.contract.to_json())
    return {"file": str(path), "pack_id": pack_id, "size_mb": round(path.stat().st_size / 1e6, 2), **facts}


def _print(facts: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    contract = facts.pop("contract")
    assert isinstance(contract, dict)
    facts["model"] = f"{contract['model_id']} ({contract['view']}, {contract['descriptor']}-d, {contract['precision']})"
    for key, value in facts.items():
        print(f"{key:<20} {value}")


COMMAND = Command("pack", "build and inspect region packs", _configure, _run)
