"""The compiled core takes the sources' place exactly while it was made of them."""

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import compile_core
import compiled_core
import install
import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIX = EXTENSION_SUFFIXES[0]
WHERE = "import segments.evaluate, schemas.events; print(segments.evaluate.__file__); print(schemas.events.__file__)"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout's sources, and a compiled core of them in `compiled/` as far as finding it goes."""
    for package in compiled_core.PACKAGES:
        (tmp_path / package).mkdir()
        for path in (ROOT / package).glob("*.py"):
            shutil.copy(path, tmp_path / package)
    (tmp_path / compiled_core.COMPILER).parent.mkdir()
    shutil.copy(ROOT / compiled_core.COMPILER, tmp_path / compiled_core.COMPILER)
    folder = tmp_path / "compiled" / compiled_core.stamp(tmp_path)
    (folder / "segments").mkdir(parents=True)
    (folder / "segments" / f"evaluate{SUFFIX}").touch()
    (folder / f"abc{compiled_core.SHARED}{SUFFIX}").touch()
    return tmp_path


def _finder(checkout: Path) -> compiled_core.Finder:
    return compiled_core.Finder(checkout, checkout / "compiled")


def test_a_compiled_module_is_found_in_place_of_its_source(checkout: Path) -> None:
    """And what the compiled modules share, which lies beside the packages; nothing else is touched."""
    finder, inside = _finder(checkout), [str(checkout / "segments")]

    found = finder.find_spec("segments.evaluate", inside)
    shared = finder.find_spec(f"abc{compiled_core.SHARED}")

    assert found is not None and found.origin is not None and found.origin.endswith(f"evaluate{SUFFIX}")
    assert shared is not None and shared.origin is not None and shared.origin.startswith(str(checkout / "compiled"))
    assert [None] * 4 == [
        finder.find_spec("segments"),
        finder.find_spec("segments.read", inside),
        finder.find_spec("streams.evaluate", [str(checkout / "streams")]),
        finder.find_spec(f"other{compiled_core.SHARED}"),
    ]


@pytest.mark.parametrize(
    "edited", ["segments/evaluate.py", "segments/read.py", "schemas/instants.py", "segments/new.py"]
)
def test_after_an_edit_of_any_source_the_sources_run(checkout: Path, edited: str) -> None:
    """Stale code would answer as the sources once did, and nobody would see it."""
    with (checkout / edited).open("a") as source:
        source.write("# edited\n")

    assert _finder(checkout).find_spec("segments.evaluate", [str(checkout / "segments")]) is None


def test_the_sources_of_another_checkout_run_as_they_are(checkout: Path, tmp_path: Path) -> None:
    """One that is first on the path, with this checkout's `.venv`."""
    assert _finder(checkout).find_spec("segments.evaluate", [str(tmp_path / "other" / "segments")]) is None


def test_with_tidegate_pure_the_compiled_core_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tests are run on both that way."""
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.setenv(compiled_core.PURE, "1")
    compiled_core.install("/somewhere", "/somewhere/compiled")
    assert [] == sys.meta_path

    monkeypatch.delenv(compiled_core.PURE)
    compiled_core.install("/somewhere", "/somewhere/compiled")
    assert [compiled_core.Finder] == [type(finder) for finder in sys.meta_path]


def test_what_events_go_through_is_compiled_and_what_cannot_be_is_not() -> None:
    sources = compile_core.sources()

    assert {"segments/evaluate.py", "segments/state.py", "segments/leaves.py", "schemas/events.py"} <= set(sources)
    assert not [name for name in sources if compile_core.STRUCT in (ROOT / name).read_text()]
    assert not {"segments/read.py", "segments/check.py", "segments/__init__.py"} & set(sources)


@pytest.mark.parametrize("pure", ["", "1"])
def test_a_python_of_this_checkout_runs_the_build_that_it_is_asked_for(pure: str) -> None:
    """From wherever it is started: the compiled one, if there is one of these sources, unless TIDEGATE_PURE is set."""
    compiled = Path(sys.prefix) / "compiled" / compiled_core.stamp(ROOT)
    expected = ".py" if pure or not compiled.exists() else SUFFIX
    environment = {**os.environ, compiled_core.PURE: pure}

    for directory in (ROOT, ROOT / "tests"):
        argv = [sys.executable, "-c", WHERE]
        said = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=True).stdout
        assert all(line.endswith(expected) for line in said.splitlines()), said


@pytest.mark.parametrize(("lacking", "said"), [("gcc", "install gcc"), ("", "could not be compiled")])
def test_where_the_core_cannot_be_compiled_the_set_up_says_so_in_a_line_and_goes_on(
    lacking: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no compiler, or it fails; pure Python gives the same answers."""

    def fails(stamp: str) -> None:
        raise install.SetupError("no space left")

    monkeypatch.delenv(compiled_core.PURE, raising=False)
    monkeypatch.setattr(install, "COMPILED", tmp_path)
    monkeypatch.setattr(install, "core_plan", lambda: ("0" * 16, lacking))
    monkeypatch.setattr(install, "compile_core", fails)
    monkeypatch.setattr(install, "have_core_found", lambda: pytest.fail("expected no compiled core to be found"))

    install.install_core()

    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and "pure Python" in line
