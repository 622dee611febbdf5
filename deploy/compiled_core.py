"""The compiled core of a checkout: whether there is one of these very sources, and how Python comes to import it.

`deploy/setup` compiles the core into `.venv/compiled/STAMP/` and puts a copy of this module beside the packages there, with a
`.pth` file that has every Python of `.venv` call `install`. From then on the compiled modules take the place of their
sources, as long as the stamp is that of the sources: after an edit, and with TIDEGATE_PURE set, Python runs the sources.
Standard library only; it is imported at every start, so it does next to nothing before the core is asked for.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

PACKAGES = ("schemas", "segments")
COMPILER = Path("deploy") / "compile_core.py"
PURE = "TIDEGATE_PURE"
# what compiled modules share is a library beside the packages, whose name ends so
SHARED = "__mypyc"


def stamp(root: Path) -> str:
    """What a compiled core was made of: sources, compiler script and kind of Python, as 16 hex digits."""
    digest = hashlib.sha256(EXTENSION_SUFFIXES[0].encode())
    sources = [path for package in PACKAGES for path in sorted((root / package).glob("*.py"))]
    for path in (*sources, root / COMPILER):
        digest.update(f"\0{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def modules(folder: Path) -> dict[str, Path]:
    """The compiled modules in a folder by dotted name; none where there is no such folder."""
    suffix = EXTENSION_SUFFIXES[0]
    return {".".join(path.relative_to(folder).parts).removesuffix(suffix): path for path in folder.rglob(f"*{suffix}")}


class Finder:
    """Finds the modules of the compiled core, where there is one of the sources as they are when it is first asked."""

    def __init__(self, root: Path, compiled: Path) -> None:
        self._root = root
        self._compiled = compiled
        self._modules: dict[str, Path] | None = None

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """The compiled module of this name; None where Python is to look further, as for all that isn't the core."""
        package = name.partition(".")[0]
        if package in PACKAGES:
            # another checkout may be first on the path: its modules are none of ours
            if not path or Path(path[0]).resolve() != self._root / package:
                return None
        elif not name.endswith(SHARED):
            return None
        if self._modules is None:
            self._modules = modules(self._compiled / stamp(self._root))
        file = self._modules.get(name)
        return None if file is None else spec_from_file_location(name, file)


def install(root: str, compiled: str) -> None:
    """Has this Python look for the core of the checkout `root` in the folder `compiled` first, unless TIDEGATE_PURE is set."""
    if not os.environ.get(PURE):
        sys.meta_path.insert(0, Finder(Path(root), Path(compiled)))
