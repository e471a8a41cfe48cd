"""Each way in which an entrypoint can be wrong has a sentence that says so."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedcore.tasks.entrypoint import EntrypointError, check_entrypoint, load_entrypoint
from fedcore.tasks.task import Context

MODULES = {
    "good_task.py": "def task(context):\n    return context\nNUMBER = 3\nclass Holder:\n    make = task\n",
    "needs_task.py": "import os\nimport no_such_library\n",
    "needs_torch_task.py": "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n",
    "raises_task.py": "raise KeyError('weights')\n",
    "exits_task.py": "raise SystemExit(7)\n",
    "typo_task.py": "def task(:\n",
    "lazy_task.py": "def __getattr__(name):\n    if name == 'task':\n        import no_such_library\n    raise AttributeError(name)\n",
    "broken_lazy_task.py": "import os\ndef __getattr__(name):\n    return os.no_such_function\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        pytest.param("good_task", ["no entrypoint", "module:attribute"], id="no colon"),
        pytest.param("good_task:", ["no entrypoint"], id="no attribute named"),
        pytest.param("my task:task", ["no entrypoint"], id="not an identifier"),
        pytest.param(
            "absent.task:task", ["cannot import", "No module named 'absent'", "looked in {folder} and the Python path"], id="absent"
        ),
        pytest.param("good_task.inner:task", ["No module named 'good_task.inner'", "not a package"], id="not a package"),
        pytest.param("needs_task:task", ["needs_task.py:2", 'needs "no_such_library"', "not installed"], id="what it imports is absent"),
        pytest.param("needs_torch_task:task", ["needs_torch_task.py:1", 'pip install "fedcore[torch]"'], id="torch is absent"),
        pytest.param("raises_task:task", ["raises_task.py:1", "KeyError", "weights"], id="raises"),
        pytest.param("exits_task:task", ["exits_task.py:1", "SystemExit", "7"], id="exits"),
        pytest.param("typo_task:task", ["typo_task.py:1", "SyntaxError"], id="syntax"),
        pytest.param("good_task:tsk", ["good_task.py", 'no attribute "tsk"', 'did you mean "task"'], id="near miss"),
        pytest.param("good_task:zzzz", ['no attribute "zzzz"'], id="attribute absent"),
        pytest.param("good_task:Holder.mak", ['no attribute "mak"', 'did you mean "make"'], id="attribute of a class absent"),
        pytest.param("good_task:NUMBER", ["an int", "not a callable"], id="not callable"),
        pytest.param("lazy_task:task", ["lazy_task.py:3", 'needs "no_such_library"'], id="what it imports late is absent"),
        pytest.param("lazy_task:other", ['no attribute "other"'], id="a module's own getattr refuses"),
        pytest.param(
            "broken_lazy_task:task", ["broken_lazy_task.py:3", "AttributeError", "no_such_function"], id="a module's own getattr breaks"
        ),
    ],
)
def test_load_says_what_is_wrong(folder, entrypoint, words):
    with pytest.raises(EntrypointError) as caught:
        load_entrypoint(entrypoint, folder)
    for word in words:
        assert word.format(folder=folder) in str(caught.value)


@pytest.mark.parametrize("entrypoint", ["good_task:task", "good_task:Holder.make"])
def test_load_returns_the_callable_and_searches_the_folder_first(folder, entrypoint):
    assert load_entrypoint(entrypoint, folder)("context") == "context"
    assert sys.path[0] == str(folder)


def test_load_without_a_folder_leaves_the_path():
    before = list(sys.path)
    assert load_entrypoint("fedcore.tasks.mnist:numpy_task").__name__ == "numpy_task"
    assert sys.path == before


def test_check_imports_nothing_here(folder):
    assert check_entrypoint("good_task:task", folder) is None
    assert "good_task" not in sys.modules


def test_check_returns_the_message(folder):
    message = check_entrypoint("needs_task:task", folder)
    assert 'needs "no_such_library"' in message
    assert "needs_task.py:2" in message


def test_check_survives_a_crash_a_chatterbox_and_a_sleeper(folder):
    (folder / "crash_task.py").write_text("import os, sys\nprint('almost there', file=sys.stderr, flush=True)\nos._exit(9)\n")
    (folder / "chatter_task.py").write_text("print('ok' * 100_000)\ndef task(context): ...\n")
    (folder / "sleep_task.py").write_text("import threading\nthreading.Event().wait()\n")
    assert "exit code 9 on the way: almost there" in check_entrypoint("crash_task:task", folder)
    assert check_entrypoint("chatter_task:task", folder) is None
    assert "longer than 0.5 s" in check_entrypoint("sleep_task:task", folder, timeout=0.5)


PRECHECKED = """
from fedcore.tasks.parameters import InvalidParameter
from fedcore.tasks.precheck import checked_by

def check(context):
    if context.data_dir is not None or context.replicas != 3:
        raise InvalidParameter("size", context.parameters["size"], "small", f"too big for {context.data_dir}")

@checked_by(check)
def task(context): ...
"""


def test_check_makes_the_tasks_own_check_where_there_is_a_context(folder):
    (folder / "prechecked_task.py").write_text(PRECHECKED)
    context = Context(0, 3, 0, {"size": "x" * 200_000})
    assert check_entrypoint("prechecked_task:task", folder) is None
    assert check_entrypoint("prechecked_task:task", folder, context=context) is None
    assert check_entrypoint("good_task:task", folder, context=context) is None
    wrong = check_entrypoint("prechecked_task:task", folder, context=replace(context, data_dir=Path("/data")))
    assert wrong == "spec.task.parameters.size: too big for /data; allowed: small"
