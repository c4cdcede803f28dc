"""The console script `songbook`: the command line of the service in the current folder."""

import sys
from pathlib import Path

import pytest

from songbook.cli.script import main


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make an empty folder the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["songbook", "--help"])
    return tmp_path


def test_the_script_runs_the_command_line_that_pyproject_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = '[tool.songbook]\ncli = "tests.samples.__main__:cli"\n'
    (folder / "pyproject.toml").write_text(named)

    with pytest.raises(SystemExit) as end:
        main()

    assert end.value.code == 0
    assert "A service of the tests." in capsys.readouterr().out
    assert sys.path[0] == str(folder)


@pytest.mark.parametrize(
    "content", [None, "", "[tool", "[tool.songbook]\n", "tool = 5\n", '[tool]\nsongbook = "a"\n']
)
def test_where_no_command_line_is_named_the_script_says_how(
    folder: Path, content: str | None
) -> None:
    if content is not None:
        (folder / "pyproject.toml").write_text(content)

    with pytest.raises(SystemExit, match=r"\[tool\.songbook\] cli = "):
        main()


@pytest.mark.parametrize(
    "named",
    [
        *("5", '""', '"json"', '"json:"', '":cli"', '".json:loads"', '["json:loads"]'),
        *('"json:none"', '"json:__name__"', '"json.loads.deep:cli"'),
        *('"nowhere:cli"', '"tests.samples.nowhere:cli"'),
    ],
)
def test_where_no_command_line_is_at_the_name_the_script_says_so(folder: Path, named: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.songbook]\ncli = {named}\n")

    with pytest.raises(SystemExit, match=r"^songbook: no command line is at .*: correct pyproject"):
        main()


def test_an_error_of_the_module_itself_is_raised_as_it_is(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.songbook]\ncli = "broken_module:cli"\n')
    (folder / "broken_module.py").write_text("import not_installed_anywhere")

    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        main()
