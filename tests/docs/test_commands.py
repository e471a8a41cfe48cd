"""Every block of code in the pages is accounted for: commands run, or are rehearsed for a reason (session.py); files are what they say."""

import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import yaml
from typer.main import get_command

from fedcore.cli.fedjob.main import app as fedjob
from fedcore.cli.init import init
from fedcore.cli.main import app as fedcore
from fedcore.jobfile import parse_job
from tests.cluster.places import REPOSITORY
from tests.docs.pages import Block, Page, pages
from tests.docs.session import CONSOLE, REHEARSED, SECONDS, SHELL, is_rehearsed, run, transcript
from tests.e2e.figures import record_figure

INNARDS = {"operator/fedcore_operator/README.md"}
"""Has a sketch in Python for who works on it."""
PAGES = [page for page in pages() if page.path not in INNARDS]
COMMANDS = [page for page in PAGES if any(block.language in {*SHELL, "python"} for block in page.blocks)]
LANGUAGES = {*SHELL, CONSOLE, "python", "yaml", "json", "promql", "text", "csv"}
APPS = {("fedcore",): get_command(fedcore), ("kubectl", "fedjob"): get_command(fedjob), ("kubectl-fedjob",): get_command(fedjob)}


def check_arguments(words):
    """Parse the words of one of our own commands as it would, without doing anything; raise what it would say."""
    for start, command in APPS.items():
        if tuple(words[: len(start)]) == start:
            context = command.make_context(start[0], list(words[len(start) :]), resilient_parsing=False)
            name, found, rest = command.resolve_command(context, context._protected_args + context.args)
            found.make_context(name, rest, parent=context)


def of(words, *start):
    return list(words[: len(start)]) == list(start)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_blocks_say_what_they_are(page):
    for block in page.blocks:
        assert block.language in LANGUAGES, f"{block}: a block in {block.language or 'no language'}: nobody knows what to do with it"
        if block.language == "yaml":
            for one in yaml.safe_load_all(block.text):
                if isinstance(one, dict) and one.get("kind") == "FederatedJob":
                    parse_job(one, str(block))
        if block.language == "json":
            json.loads(block.text)


def own_blocks(page):
    """Blocks of a page, of the README without those that stand word for word in docs/, where they run."""
    if page.path != "README.md":
        return page.blocks
    elsewhere = {block.text for other in PAGES if other.path.startswith("docs/") for block in other.blocks}
    return [block for block in page.blocks if block.text.replace(".venv/bin/", "") not in elsewhere]


@pytest.fixture(scope="module")
def sessions(request, tmp_path_factory):
    """Sessions of the pages that are asked for, by path. Two at a time, as much of a run is waiting."""
    pages = [item.callspec.params["page"] for item in request.session.items if getattr(item, "originalname", "") == "test_commands_run"]
    pool = ThreadPoolExecutor(2)
    yield {page.path: pool.submit(run, own_blocks(page), tmp_path_factory.mktemp("page") / "checkout") for page in pages}
    pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(2 * SECONDS + 60)
@pytest.mark.parametrize("page", COMMANDS, ids=str)
def test_commands_run(page, sessions):
    check_session(page.path, sessions[page.path].result())


def test_commands_of_a_new_project_are_commands(tmp_path):
    """The README that ``fedcore init`` writes, in the project, rehearsed: docs/your-model.md runs it."""
    assert init("my-project", tmp_path) == 0
    page = Page("my-project/README.md", (tmp_path / "my-project/README.md").read_text(encoding="utf-8"))
    session = run(page.blocks, tmp_path / "checkout", programs={"fedcore": ":"})
    assert session.code == 0, session.said
    assert session.commands
    for words in session.commands:
        check_arguments(words)
        check_files(words, tmp_path / "my-project")


def check_session(page, session):
    """Every command succeeded; of those that were rehearsed the arguments are such as the program takes."""
    assert session.code == 0, session.said[-4000:]
    assert session.commands
    rehearsed = [words for words in session.commands if is_rehearsed(words)]
    planned = sum(words[0] == "make" for words in session.commands)
    record_figure("commands that ran", len(session.commands) - len(rehearsed) - planned, f"in {page}")
    record_figure("commands of make, as `make -n`", planned, f"in {page}")
    record_figure("rehearsed", len(rehearsed), f"in {page}")
    for words in rehearsed:
        check_arguments(words)
        check_files(words, session.folder)


def check_files(words, folder):
    """Files that a rehearsed command reads are there; those in build/ are made by a command that was rehearsed too."""
    if words[0] in {"kubectl", "helm"}:
        for flag, value in pairwise(words):
            if flag in {"-f", "--filename", "--values"} and value != "-" and not value.startswith("build/"):
                assert (folder / value).exists(), words
        for chart in (word for word in words if word.startswith("charts/")):
            assert (folder / chart / "Chart.yaml").exists(), words


@pytest.mark.parametrize("block", [block for page in PAGES for block in page.blocks if block.language == CONSOLE], ids=str)
def test_commands_of_transcripts_are_commands(block):
    assert transcript(block)
    for words in transcript(block):
        assert words[0] in {"fedcore", "kubectl"}
        check_arguments(words)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_in_running_text_exist(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for text in page.code:
        words = text.replace("\\|", "|").split()
        if of(words, "make") and len(words) > 1:
            named = [word for word in words[1:] if re.fullmatch(r"[a-z0-9-]+", word)]
            assert named, text
            assert set(named) <= targets, text
        for start, command in APPS.items():
            if of(words, *start) and len(words) > len(start):
                check_mention(command, words[len(start) :], text)


def check_mention(group, words, text):
    """A command as one writes about it: ``fedcore run [JOB.yaml]``. Its name and its flags are its."""
    for name in words[0].split("|"):
        if not re.fullmatch(r"[a-z]+", name):
            return
        assert name in group.commands, text
        known = {option for parameter in group.commands[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
        for flag in (
            word.partition("=")[0].rstrip("],;") for word in shlex.split(text.replace("'", " ")) if re.match(r"\[?--?[a-z]", word)
        ):
            assert flag.lstrip("[") in {*known, "--help"}, text


@pytest.mark.parametrize(
    ("language", "text"),
    [
        pytest.param("sh", "fedcore rnu", id="a command misspelt"),
        pytest.param("sh", "fedcore run examples/no-such.yaml", id="a file that is not there"),
        pytest.param("sh", "terraform apply", id="a program that nobody accounts for"),
        pytest.param("sh", "make no-such-target", id="a target of make"),
        pytest.param("sh", "for name in a b; do echo", id="syntax of the shell"),
        pytest.param("sh", "aws s3 ls $NOWHERE_SET", id="a variable that no page sets"),
        pytest.param("python", "import no_such_module", id="a snippet in Python"),
    ],
)
def test_a_block_that_does_not_work_fails(language, text, tmp_path):
    assert run([Block("planted.md", 1, language, None, text + "\n")], tmp_path / "checkout").code != 0


@pytest.mark.parametrize(
    "words", ["fedcore coordinator --jobb x", "fedcore worker --rounds 3", "kubectl fedjob whyy x", "kubectl fedjob logs x --tails 3"]
)
def test_a_flag_that_a_rehearsed_command_does_not_have_is_found(words):
    with pytest.raises(Exception, match="No such"):
        check_arguments(words.split())


def test_a_command_in_text_that_does_not_exist_is_found():
    for text in ("make no-such", "fedcore bake", "fedcore run --bogus", "kubectl fedjob logs --bogus"):
        with pytest.raises(AssertionError):
            test_commands_in_running_text_exist(Page("planted.md", f"`{text}`"))


def test_each_reason_for_a_rehearsal_is_needed():
    """What no page mentions any more needs none; a file that a reason names exists."""
    blocks = [block.text for page in PAGES for block in page.blocks if block.language in SHELL]
    text = "\n".join([*blocks, *(mentioned for page in PAGES for mentioned in page.code)])
    for start, reason in REHEARSED.items():
        assert re.search(rf"(?<![\w-]){start}\b", text), start
        for path in re.findall(r"tests/[\w/.]*\w", reason):
            assert (REPOSITORY / path).exists(), path


def test_bash_takes_every_block():
    for page in PAGES:
        for block in page.blocks:
            if block.language in SHELL:
                done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=30)
                assert (done.returncode, done.stderr) == (0, ""), block
