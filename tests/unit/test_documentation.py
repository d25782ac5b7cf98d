"""The documents name existing settings, metrics, commands, alerts and messages, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest
import yaml

from vortex.cli import main
from vortex.config.loading import load
from vortex.config.settings import known_keys
from vortex.core.decode.reasons import Reason
from vortex.core.dedup import decided
from vortex.core.log import segment
from vortex.core.log.rules import STATE_VERSION
from vortex.core.publish.contents import DONE_VERSION
from vortex.core.publish.plan import PLAN_VERSION, Plan
from vortex.exits import Exit
from vortex.metrics import METRICS
from vortex_loader.catalog import read_catalog
from vortex_loader.cli import main as loader
from vortex_loader.metrics import METRICS as LOADERS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")])
GUIDES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/*/README.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NAMED = re.compile(r"\bVortex[A-Z]\w+")


def page(name: str) -> str:
    """The text of a document."""
    return (ROOT / name).read_text("utf-8")


def prose(text: str) -> str:
    """The text without code blocks."""
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors of a document, as GitHub and the site name them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    named = set(re.findall(r'<a id="([\w-]+)">', text))
    return named | {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def source() -> str:
    """The source of the program."""
    return "\n".join(path.read_text("utf-8") for path in sorted(ROOT.glob("vortex/**/*.py")))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_an_existing_file_and_heading(path: Path) -> None:
    """Within the repository; `mkdocs build --strict` checks those of the site."""
    for link in _LINK.findall(prose(path.read_text("utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, heading = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if heading:
            assert heading in anchors(target.read_text("utf-8")), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_existing_files(path: Path) -> None:
    """In code quotes."""
    folders = "benchmarks|deploy|docs|examples|native|simulation|tests|tools|vortex|vortex_loader"
    named = re.findall(rf"`((?:{folders})/[\w./-]*\w/?)`", path.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_links_of_guides_call_a_page_by_its_title() -> None:
    """A link that begins with a capital letter and leads to a whole page: two names would be two pages to a reader."""
    for path in sorted((ROOT / "docs/how-to").glob("*.md")):
        for text, target in re.findall(r"(?<!!)\[([A-Z][^\]]+)\]\(([^)#\s]+\.md)\)", path.read_text("utf-8")):
            title = (path.parent / target).read_text("utf-8").partition("\n")[0].removeprefix("# ")
            assert " ".join(text.split()) == title, f"{path.name} calls {target} {text!r}"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_pages_show_are_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of a shell block that begins with one of the programs: its command, options and values."""
    for name in ("STORE", "WAREHOUSE", "CATALOG"):
        monkeypatch.setenv(f"VORTEX_LOADER_{name}", "given")  # as the page says before
    for block in re.findall(r"^ *```(?:sh|bash)\n(.*?)^ *```$", path.read_text("utf-8"), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.split(" < ")[0], comments=True) if re.match(r" *vortex(-loader)? ", line) else []
            if words:
                _taken({"vortex": main, "vortex-loader": loader}[words[0]], words[1:], line)


def _taken(command: click.Command, words: list[str], line: str, parent: click.Context | None = None) -> None:
    """With its parent: Click remembers the names of the help option that a command had first."""
    try:
        context = command.make_context(command.name, list(words), parent)
    except click.exceptions.Exit:
        return  # --version, --help
    except click.ClickException as problem:
        pytest.fail(f"{line.strip()}: {problem.format_message()}")
    if isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*getattr(context, "_protected_args", ()), *context.args])
        assert found is not None, f"{line.strip()}: no command {name}"
        _taken(found, rest, line, context)


def test_pages_name_existing_values_of_the_chart_and_variables_of_the_module() -> None:
    values = yaml.safe_load(page("deploy/helm/vortex/values.yaml"))
    for path in GUIDES:
        text = path.read_text("utf-8")
        for name in re.findall(
            rf"`((?:{'|'.join(set(values) - {'settings', 'image', 'service'})})(?:\.[A-Za-z]+)+)", text
        ):
            part = values
            for key in name.split("."):
                assert isinstance(part, dict) and key in part, f"{path.name}: {name} is no value of the chart"
                part = part[key]
    parts = set(
        re.findall(
            r'^(?:variable|output) "(\w+)"',
            page("deploy/terraform/variables.tf") + page("deploy/terraform/outputs.tf"),
            re.M,
        )
    )
    section = page("docs/how-to/aws.md").partition("## Policies")[0]
    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?: = [^`]+)?`", section)) <= parts


def test_site_navigation_lists_every_page() -> None:
    """And no page that does not exist."""
    named = set(re.findall(r": ([\w./-]+\.md)$", page("mkdocs.yml"), re.MULTILINE))
    found = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    decisions = {name for name in found if re.match(r"decisions/\d", name)}
    assert found - decisions == named
    index = page("docs/decisions/index.md")
    assert all(f"({Path(name).name})" in index for name in decisions)


def test_reference_names_every_setting_and_every_metric() -> None:
    """Another test checks that it names no others."""
    settings, metrics = page("docs/reference/settings.md"), page("docs/reference/metrics.md")
    for section, keys in known_keys().items():
        assert [key for key in keys if f"`{section}.{key}`" not in settings] == []
    named = set(re.findall(r"`(vortex_[a-z_]+)", metrics))
    assert {row.name for row in METRICS} <= named


def test_loader_reference_names_its_commands_and_options_and_metrics() -> None:
    text = page("docs/reference/loader.md")
    assert {row.name for row in LOADERS} <= set(re.findall(r"`(vortex_[a-z_]+)", text))
    for name, command in loader.commands.items():
        assert f"`vortex-loader {name}" in text
        for option in command.params:
            assert option.param_type_name == "argument" or option.opts[-1] in text + page("docs/how-to/load.md"), (
                option.opts
            )


def test_reference_names_every_command_and_option() -> None:
    """Except hidden options."""
    text = page("docs/reference/commands.md")
    for name, command in main.commands.items():
        assert f"`vortex {name}" in text, name
        for parameter in command.params:
            if parameter.opts[0].startswith("--") and not getattr(parameter, "hidden", False):
                assert parameter.opts[0] in text, (name, parameter.opts)


def test_reference_lists_exactly_the_reasons_of_rejections() -> None:
    table = page("docs/reference/events.md").split("| reason | what it is |")[1]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(Reason)


def test_reference_names_every_exit_code() -> None:
    """By number and name."""
    text = page("docs/reference/exit-codes.md")
    listed = {(int(number), name) for number, name in re.findall(r"^\| (\d+) \| (\w+) \|", text, re.MULTILINE)}
    assert listed == {(code.value, code.name) for code in Exit}


def test_state_page_has_the_format_versions_and_plan_fields_of_the_code() -> None:
    text = page("docs/reference/state.md")
    row = re.compile(r"^\| `?(segment|stream\.json|plan\.json|done\.json|dedup)[^|]*\| (\d+) \|", re.MULTILINE)
    versions = {"segment": segment.VERSION, "stream.json": STATE_VERSION, "plan.json": PLAN_VERSION}
    versions |= {"done.json": DONE_VERSION, "dedup": decided.VERSION}
    assert dict(row.findall(text)) == {name: str(version) for name, version in versions.items()}
    table = text.partition("## A plan")[2]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`(\\w+)`", row)}
    assert named <= {field.name for field in msgspec.structs.fields(Plan)}


def test_runbook_lists_exactly_the_shipped_alerts() -> None:
    groups = yaml.safe_load(page("deploy/prometheus-alerts.yml"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    alerts |= set(re.findall(r"- alert: (\w+)", page("deploy/helm/vortex/templates/_rules.tpl")))
    assert set(_NAMED.findall(page("docs/how-to/alerts.md"))) == alerts


def test_runbook_quotes_messages_that_the_program_prints() -> None:
    """Each in the first column of the table of messages."""
    table = page("docs/how-to/alerts.md").partition("## Messages")[2].partition("\n## ")[0]
    quoted = [
        text for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for text in re.findall("`([^`]+)`", row)
    ]
    text = source()
    assert len(quoted) >= 10
    for message in quoted:
        assert message.startswith("vortex ") or message in text, message


def test_contributing_guides_name_existing_functions_and_classes() -> None:
    """And methods, and constants."""
    folders = ("vortex", "simulation", "tests", "tools")
    text = "\n".join(path.read_text("utf-8") for folder in folders for path in ROOT.glob(f"{folder}/**/*.py"))
    found = re.findall(r"\b(?:def|class) (\w+)|^ *(\w+)(?=[:\[(]| =)", text, re.MULTILINE)
    known = {name for pair in found for name in pair}
    named = re.findall(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)`", page("CONTRIBUTING.md"))
    names = {part for name in named if not name.endswith((".py", ".md", ".toml", ".txt")) for part in name.split(".")}
    assert len(names) >= 10
    assert names - known == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_existing_metrics_and_settings(path: Path) -> None:
    """The changelog may name earlier ones."""
    if path.name == "CHANGELOG.md":
        return
    text = path.read_text("utf-8")
    metrics = {row.name for row in METRICS} | {row.name for row in LOADERS}
    assert set(re.findall(r"`(vortex_[a-z_]+)(?=[`{ ])", text)) <= metrics
    known = known_keys()
    for section, key in re.findall(r"`([a-z]+)\.([a-z_]+)(?: = [^`]*)?`", text):
        assert section not in known or key in known[section], f"{section}.{key}"


def test_configurations_in_documents_load(tmp_path: Path) -> None:
    """A part is completed with the required settings."""
    least = {"source": '[source]\nstream = "s"\n', "store": '[store]\nurl = "file:///x"\n'}
    least["event"] = '[event]\ncustomer = "c"\ntype = "t"\nid = "i"\ntime = "x"\n'
    file, found = tmp_path / "v.toml", 0
    for path in PAGES:
        for block in re.findall(r"^ *```toml\n(.*?)^ *```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            text = re.sub(r"^ +", "", block, flags=re.MULTILINE)
            if "[customer." in text:
                assert read_catalog(text.encode(), path.name).customers()
                continue
            file.write_text(text + "".join(some for name, some in least.items() if f"[{name}]" not in text))
            load(file, {})
            found += 1
    assert found >= 3


def test_readme_has_two_screens_and_at_most_five_measured_numbers() -> None:
    """Each number is on the page of results, which names its command."""
    text, results = page("README.md"), page("docs/performance.md")
    assert len(text.splitlines()) <= 120
    assert "make demo" in text.partition("## ")[0]
    table = text.partition("## Five numbers")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d\S*)", table, re.MULTILINE)
    assert 1 <= len(rows) <= 5
    for number in rows:
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", results), number
    cost = re.search(r"^\| (\S+ µs) \| CPU for an event of 1 KB over TLS", table, re.MULTILINE)
    assert cost and f"An event of 1 KB takes {cost[1]} over TLS" in " ".join(results.split())


def test_decision_records_are_numbered_and_have_three_sections() -> None:
    """Context, decision, consequence; numbers without gaps."""
    decisions = sorted(ROOT.glob("docs/decisions/0*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        headings = re.findall(r"^## (.+)$", path.read_text("utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequence"], path.name
