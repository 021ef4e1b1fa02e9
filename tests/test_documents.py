"""The documents beside the code: what they name exists, what they show runs, what is said twice
agrees.

Citation, licence and metadata are compared with the package. The Python blocks of the pages are
run. Paths, dotted names, commands and tables in them are looked up in the repository.
"""

import functools
import hashlib
import importlib
import pathlib
import re
import runpy
import tomllib

import pytest
import yaml
from matplotlib import pyplot

import dgm_jax
from dgm_jax.store.directory import FOLDERS

ROOT = pathlib.Path(__file__).parents[1]
# Of the text that apache.org publishes and Debian installs as a common licence.
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

GUIDE = "CONTRIBUTING.md"
ARCHITECTURE = "docs/architecture.md"
CONCEPTS = "docs/concepts.md"
DATA, EXPERIMENTS = "docs/data.md", "docs/experiments.md"
PAGES = (GUIDE, ARCHITECTURE, CONCEPTS, DATA, EXPERIMENTS, "CHANGELOG.md")
BOOK = tuple(
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if "_build" not in path.parts
)
LINKING = tuple(dict.fromkeys((*PAGES, "README.md", "benchmarks/README.md", *BOOK)))
PATH_ENDINGS = (".py", ".md", ".toml", ".cff", ".yaml", ".yml", ".txt")


@functools.cache
def text_of(page):
    return (ROOT / page).read_text("utf-8")


def blocks_of(page, language):
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def code_words_of(page):
    """What stands in backticks in running text."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


# Licence, metadata and citation.


def test_the_licence_is_apache_2_word_for_word():
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_the_metadata_names_the_licence_and_its_file():
    assert PROJECT["license"] == "Apache-2.0"
    assert "LICENSE" in PROJECT["license-files"]
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])
    # Beside a licence expression a licence classifier is an error (PEP 639).
    assert not [name for name in PROJECT["classifiers"] if name.startswith("License ::")]


def test_the_metadata_describes_the_package():
    assert PROJECT["authors"] == [{"name": "The dgm_jax authors"}]
    assert len(PROJECT["keywords"]) == len({word.lower() for word in PROJECT["keywords"]}) > 4
    assert PROJECT["classifiers"] == sorted(PROJECT["classifiers"])
    oldest = PROJECT["requires-python"].removeprefix(">=")
    versions = [name.split(" :: ")[-1] for name in PROJECT["classifiers"] if ":: 3." in name]
    assert versions[0] == oldest


def test_typed_is_said_where_types_are_shipped():
    shipped = (ROOT / "dgm_jax" / "py.typed").is_file()
    assert ("Typing :: Typed" in PROJECT["classifiers"]) == shipped


def test_the_citation_agrees_with_the_package():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert CITATION["message"]
    assert CITATION["version"] == dgm_jax.__version__
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["authors"] == PROJECT["authors"]
    assert CITATION["keywords"] == PROJECT["keywords"]
    assert CITATION["title"].startswith(PROJECT["name"])


# The form of the changelog, after keepachangelog 1.1.0.


def test_the_changelog_lists_versions_and_kinds_of_change():
    headings = re.findall(r"^(##+) (.+)$", text_of("CHANGELOG.md"), re.MULTILINE)
    versions = [title for level, title in headings if level == "##"]
    assert versions[0] == "Unreleased"
    assert versions[1].startswith(dgm_jax.__version__)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(.+\)", title) for title in versions[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    found = [title for level, title in headings if level == "###"]
    assert found and set(found) <= kinds


# What the pages name.


def looks_like_a_path(word):
    """`core/types.py`, `tests/` or `LICENSE`; not a folder of a run, not `FOLDER/name`."""
    if not re.fullmatch(r"[\w.\-]+(/[\w.\-]+)*/?", word):
        return False
    first, *rest = word.split("/")
    if first in (*FOLDERS, "runs") or (first.isupper() and rest):
        return False
    return "/" in word or word.endswith(PATH_ENDINGS) or word in ("LICENSE", "Makefile")


PATHS = [(page, word) for page in PAGES for word in code_words_of(page) if looks_like_a_path(word)]


@pytest.mark.parametrize("page, path", sorted(set(PATHS)))
def test_every_path_exists(page, path):
    assert (ROOT / path).exists()


@functools.cache
def packages():
    """What a dotted name may begin with: the package itself, and its parts."""
    parts = [path for path in (ROOT / "dgm_jax").iterdir() if path.suffix == ".py" or path.is_dir()]
    return {"dgm_jax", *(path.stem for path in parts)}


def contract(name):
    """`core.Player` for "Player"; None for a name that core does not export."""
    core = importlib.import_module("dgm_jax.core")
    return getattr(core, name) if name in core.__all__ else None


def dotted_names(page):
    """`dgm_jax.data.load`, `data.load(name)` and `Player.parts`, without what follows the name."""
    for word in code_words_of(page):
        found = re.match(r"([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)+(?![\w.-])", word)
        if found and not looks_like_a_path(word):
            if found[1] in packages() or contract(found[1]):
                yield found[0]


NAMES = [(page, name) for page in PAGES for name in dotted_names(page)]


def resolve(name):
    """The object behind a dotted name; modules are imported where an attribute is not there yet."""
    first, *rest = name.split(".")
    module = "dgm_jax" if first == "dgm_jax" else f"dgm_jax.{first}"
    found = contract(first) or importlib.import_module(module)
    for part in rest:
        if not hasattr(found, part) and hasattr(found, "__path__"):
            importlib.import_module(f"{found.__name__}.{part}")
        fields = getattr(found, "__dataclass_fields__", {})
        found = fields[part] if part in fields else getattr(found, part)
    return found


@pytest.mark.parametrize("page, name", sorted(set(NAMES)))
def test_every_dotted_name_resolves(page, name):
    assert resolve(name) is not None


def test_a_wrong_name_and_a_wrong_path_would_be_noticed():
    assert len(PATHS) > 20 and len(NAMES) > 20
    with pytest.raises(AttributeError):
        resolve("objectives.gan.LOSES")
    with pytest.raises(ModuleNotFoundError):
        resolve("dgm_jax.objective.gan")
    assert looks_like_a_path("dgm_jax/core/type.py") and looks_like_a_path("Makefile")


@pytest.mark.parametrize("page", LINKING)
def test_every_link_leads_to_a_file(page):
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    local = [target.split("#")[0] for target in targets if not target.startswith("http")]
    missing = [target for target in local if not (ROOT / page).parent.joinpath(target).exists()]
    assert not missing


def test_the_readme_links_to_the_documents():
    for document in (
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/concepts.md",
        "docs/data.md",
        "docs/experiments.md",
        "benchmarks/README.md",
        "CHANGELOG.md",
        "LICENSE",
        "CITATION.cff",
    ):
        assert f"]({document})" in text_of("README.md")


def test_every_make_target_of_the_guide_exists():
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*)\b", "\n".join(blocks_of(GUIDE, "bash"))))
    rules = set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))
    assert {"test", "lint"} <= targets
    assert targets <= rules


def test_every_script_of_the_guide_exists():
    scripts = re.findall(r"\bpython ([\w/]+\.py)\b", "\n".join(blocks_of(GUIDE, "bash")))
    assert scripts and all((ROOT / script).is_file() for script in scripts)


def test_entry_points_have_the_form_that_the_guide_shows():
    (block,) = blocks_of(GUIDE, "toml")
    ((group, shown),) = tomllib.loads(block)["project"]["entry-points"].items()
    ((example, target),) = shown.items()
    for name, found in PROJECT["entry-points"][group].items():
        assert found == target.replace(example, name)


# What the pages show.

BLOCKS = [
    pytest.param(page, index, block, id=f"{page}-{index}")
    for page in (GUIDE, ARCHITECTURE, CONCEPTS)
    for index, block in enumerate(blocks_of(page, "python"))
]


@pytest.mark.parametrize("page, index, block", BLOCKS)
def test_every_block_runs_by_itself(page, index, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "assert" in block  # a block that checks nothing shows nothing
    exec(compile(block, f"{page}, block {index}", "exec"), {"__name__": "example"})


def cells_of(page):
    """The code cells of an executed page, as one program."""
    cells = re.findall(
        r"^```\{code-cell\}[^\n]*\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE
    )
    return "\n".join(cells)


EXECUTED = [
    pytest.param(page, marks=[pytest.mark.slow] if "tutorials" in page else [])
    for page in BOOK
    if cells_of(page)
]


@pytest.mark.parametrize("page", EXECUTED)
def test_every_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: pyplot.close("all"))
    assert "assert" in cells_of(page)
    exec(compile(cells_of(page), page, "exec"), {"__name__": "example"})


def test_every_package_and_every_page_is_in_the_contents():
    contents = "".join(text_of(page) for page in ("docs/index.md", "docs/api/index.md"))
    listed = set(re.findall(r"^[\w/]+$", contents, re.MULTILINE))
    pages = {page.removeprefix("docs/").removesuffix(".md") for page in BOOK}
    inside = {page.removeprefix("api/") for page in pages if page.startswith("api/")}
    assert listed == (pages - {f"api/{name}" for name in inside} | inside) - {"index"} | {
        "api/index"
    }
    private = {"native", "experiments", "terminal"}
    assert (
        inside - {"index"}
        == {path.parent.name for path in (ROOT / "dgm_jax").glob("*/__init__.py")} - private
    )


# Tables of the architecture that a test enforces.


def rows_of(heading):
    """{first cell: words of the second} of the table under a heading of the architecture."""
    section = text_of(ARCHITECTURE).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|$", section, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}


@pytest.mark.parametrize(
    "heading, table",
    [("Who may import what", "MAY_IMPORT"), ("Where other packages live", "AT_HOME")],
)
def test_the_tables_of_the_architecture_are_the_rules(heading, table):
    rules = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))
    assert rows_of(heading) == rules[table]
