"""Puts the compiled core into a wheel, where it can be compiled: what `pip install .` brings. Editable ones have none."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))  # hatchling loads this file alone

from compile_core import compile_core, missing
from compiled_core import PURE, modules


class CoreHook(BuildHookInterface):  # type: ignore[misc]  # hatchling is there only while a wheel is built
    """Compiles the core before the wheel is made; the sources go along, and are what runs where there is no compiler."""

    def dependencies(self) -> list[str]:
        """What compiling needs: the compiler of Python, and the types of the packages that the core calls."""
        return [] if os.environ.get(PURE) or missing() else ["mypy[mypyc]>=1.10", "msgspec>=0.19", "orjson>=3.10"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the extension modules, beside their sources, and names the platform that they are for."""
        if version == "editable" or os.environ.get(PURE):
            return
        if lacking := missing():
            self.app.display_warning(f"the core stays in pure Python: no {lacking} to compile it with")
            return
        folder = Path(self.directory).resolve() / "core"
        compile_core(folder, folder.with_name("core-cache"))
        for path in modules(folder).values():
            build_data["force_include"][str(path)] = str(path.relative_to(folder))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
