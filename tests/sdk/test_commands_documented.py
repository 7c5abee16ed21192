"""Documentation is tested: every command has help and stands in a README; every command a README names is one."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from pilotage import cli
from pilotage_export import cli as export_cli
from pilotage_trainer import cli as trainer_cli

ROOT = Path(__file__).parents[2]
FOLDERS = ("sdk", "trainer", "export", "firmware_bridge", "tests", "benchmarks")
READMES = [ROOT / "README.md", *(ROOT / folder / "README.md" for folder in FOLDERS)]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def sub_verbs(parser):
    """Return (help, parser) of every verb directly below, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            return {name: (helps.get(name), sub) for name, sub in action.choices.items()}
    return {}


def walk(parser, summary=None):
    """Yield (command line, the line that lists it, its parser), the top first."""
    yield parser.prog, summary or parser.description, parser
    for name, (listed, sub) in sub_verbs(parser).items():
        assert sub.prog == f"{parser.prog} {name}"
        yield from walk(sub, listed)


PARSERS = {parser.prog: parser for parser in (cli.parser(), trainer_cli.parser(), export_cli.parser())}
COMMANDS = [command for parser in PARSERS.values() for command in walk(parser)]
LEAVES = [line for line, _, parser in COMMANDS if not sub_verbs(parser)]


def code_of(text):
    """Return the code spans and the lines of code blocks of a Markdown page."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line.strip() for block in blocks for line in block.splitlines()] + spans


def commands_named(text):
    """Return the words of every command of ours that a page's code begins with, as far as they are verbs."""
    found = re.findall(r"(?:^|/|\s&&\s)(pilotage(?:-train|-export)?)((?: +[a-z]+(?:\|[a-z]+)*)+)", text)
    return [(program, [word.split("|") for word in words.split()]) for program, words in found]


def missing_verb(program, words):
    """Return the first word that should be a verb and is not; alternatives stand as `a|b`."""
    parser = PARSERS[program]
    for alternatives in words:
        verbs = sub_verbs(parser)
        if not verbs:
            return None
        for name in alternatives:
            if name not in verbs:
                return name
        parser = verbs[alternatives[0]][1]
    return None


@pytest.mark.parametrize(("line", "summary", "parser"), COMMANDS, ids=[line for line, _, _ in COMMANDS])
def test_every_command_helps(line, summary, parser):
    assert summary and summary != argparse.SUPPRESS and parser.description
    assert "example" in parser.epilog and re.search(r"^exit codes: 0 .*\b1 .*\b2 ", parser.epilog, flags=re.MULTILINE)
    assert parser.formatter_class is argparse.RawDescriptionHelpFormatter, "the epilog would be poured into one line"
    text = parser.format_help()
    assert text.startswith(f"usage: {line}") and "exit codes: 0" in text


@pytest.mark.parametrize(("line", "parser"), [(line, parser) for line, _, parser in COMMANDS])
def test_every_option_says_what_it_is(line, parser):
    silent = [a.option_strings[-1] for a in parser._actions if a.option_strings and not a.help]
    assert silent == []


@pytest.mark.parametrize(("line", "parser"), [(line, parser) for line, _, parser in COMMANDS])
def test_every_example_is_a_command_line_that_parses(line, parser):
    examples = re.findall(r"^(?:examples?:)?\s*(pilotage.*)$", parser.epilog, flags=re.MULTILINE)
    assert any(example.startswith(line) for example in examples)
    for example in examples:
        program, *words = shlex.split(example, comments=True)
        PARSERS[program].parse_args(words)


@pytest.mark.parametrize("line", LEAVES)
def test_every_command_stands_in_a_readme(line):
    *parents, verb = line.split()
    wanted = re.compile(rf"{re.escape(' '.join(parents))} (?:[a-z]+\|)*{verb}\b")
    said = [code for page in READMES for code in code_of(page.read_text(encoding="utf-8"))]
    assert [code for code in said if wanted.search(code)], f"no README says `{line}`"


@pytest.mark.parametrize("page", [p for p in PAGES if p.exists()], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_a_page_names_exists(page):
    wrong = [
        (code, missing)
        for code in code_of(page.read_text(encoding="utf-8"))
        for program, words in commands_named(code)
        if (missing := missing_verb(program, words))
    ]
    assert wrong == []


def test_every_command_the_makefile_runs_exists():
    ran = re.findall(r"bin/(pilotage(?:-train|-export)?) ([a-z]+)", MAKEFILE)
    assert ran and [(program, verb) for program, verb in ran if missing_verb(program, [[verb]])] == []


def targets():
    return set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))


def test_every_make_target_has_a_line_of_help():
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)[1].split())
    helped = set(re.findall(r"^([a-z]+):.*## \S", MAKEFILE, flags=re.MULTILINE))
    assert phony == targets() == helped
    assert re.search(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE)[1] == "help", "make alone prints the help"


@pytest.mark.parametrize("page", [p for p in PAGES if p.exists()], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_a_page_names_exists(page):
    named = {
        target
        for code in code_of(page.read_text(encoding="utf-8"))
        for target in re.findall(r"(?:^|\s)make ([a-z]+)", code)
    }
    assert named <= targets()


@pytest.mark.parametrize("page", [p for p in READMES if p.exists()], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_a_readme_sends_you_to_exists(page):
    package = [p for p in page.parent.iterdir() if (p / "__init__.py").is_file()]
    places = [page.parent, ROOT, *package, *(p / "data" for p in package)]
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.(?:py|md|toml|param))`", text) + re.findall(r"\]\(([\w/.-]+)\)", text)
    named = [name for name in named if not name.endswith("__init__.py")]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pilotage pack build town.tif -o town.region", [("pilotage", [["pack"], ["build"], ["town"]])]),
        ("pilotage store install|status", [("pilotage", [["store"], ["install", "status"]])]),
        (".venv/bin/pilotage demo --seed 7", [("pilotage", [["demo"]])]),
        ("pilotage-train run --out runs", [("pilotage-train", [["run"]])]),
        ("pip install pilotage", []),
        ("from pilotage import models", []),
        ("pilotage.world", []),
    ],
)
def test_commands_are_told_from_other_code(code, words):
    assert commands_named(code) == words


def test_a_verb_that_is_none_is_found():
    assert missing_verb("pilotage", [["pack"], ["build", "burn"]]) == "burn"
    assert missing_verb("pilotage", [["fly"]]) == "fly"
    assert missing_verb("pilotage", [["locate"], ["frame"]]) is None
