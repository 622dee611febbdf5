"""Compiles the core with mypyc into a folder: `python deploy/compile_core.py FOLDER`. `deploy/setup` and wheels use it.

What is compiled are the modules that events go through. The others stay with Python: those that read, check and explain
definitions are seldom run, and one inherits from a class written in C, which mypyc can't do; nor can it compile the
Structs of msgspec, which are C already. What people call from notebooks stays, too, as mypyc drops docstrings.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ("events", "instants")
SELDOM_RUN = ("__init__", "check", "compile", "conditions", "errors", "explain", "read", "report", "verdicts", "warn")
FOR_PEOPLE = ("simulate", "stats")
STRUCT = "msgspec.Struct"


def missing() -> str:
    """What this machine lacks for compiling, as Debian's packages; empty where it lacks nothing."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    lacks = {
        "clang" if "clang" in compiler else "gcc": shutil.which(compiler) is None,
        f"python{sys.version_info.major}.{sys.version_info.minor}-dev": not _has_headers(),
    }
    return " ".join(package for package, lacking in lacks.items() if lacking)


def _has_headers() -> bool:
    return (Path(sysconfig.get_path("include")) / "Python.h").exists()


def sources(root: Path = ROOT) -> list[str]:
    """The modules to compile, as paths from `root`."""
    core = [
        path for path in sorted((root / "segments").glob("*.py")) if not path.stem.startswith(SELDOM_RUN + FOR_PEOPLE)
    ]
    written_in_c = [path for path in core if STRUCT in path.read_text()]
    found = [
        *(root / "schemas" / f"{name}.py" for name in SCHEMAS),
        *(path for path in core if path not in written_in_c),
    ]
    return [str(path.relative_to(root)) for path in found]


def compile_core(folder: Path, cache: Path) -> None:
    """Compiles into `folder`, which then holds the extension modules as packages have them and the library they share.

    The folder appears whole or not at all; what mypy knows of the sources is kept in `cache`, for the next time. Raises
    SystemExit where the compiler fails, after it said why.
    """
    # both look at the machine when they are imported, and are there only where something is to be compiled
    from mypyc.build import mypycify
    from setuptools import setup

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made, waste = Path(scratch, "made"), Path(scratch, "waste")
        os.chdir(ROOT)  # tracebacks name the sources as they are given here
        # types are checked elsewhere, with all that is known of other packages: here they only have to be of use
        options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={cache}"]
        # one C file a module, at -O1: a third of the compiling, and no slower when it runs
        settings: dict[str, Any] = {"opt_level": "1", "debug_level": "0", "multi_file": True}
        extensions = mypycify([*options, *sources()], target_dir=str(waste / "c"), **settings)
        os.chdir(scratch)  # where there is no pyproject.toml for setuptools to have opinions on
        arguments = ["-q", "build_ext", "--build-lib", str(made), "--build-temp", str(waste), "-j", str(cpus())]
        setup(name="core", packages=[], ext_modules=extensions, script_args=arguments)
        os.chdir(ROOT)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    compile_core(target, target.parent / "cache")
