"""Runs a function once a module has been imported, without importing it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType


def after_import(name: str, action: Callable[[ModuleType], None]) -> None:
    """Calls `action(module)` after the module `name` was imported: at once if it has been already.

    Actions of one module run in the order in which they were given.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        action(module)
        return
    for finder in sys.meta_path:
        if isinstance(finder, _OneModuleFinder) and finder.name == name:
            finder.actions.append(action)
            return
    sys.meta_path.insert(0, _OneModuleFinder(name, action))


class _OneModuleFinder(importlib.abc.MetaPathFinder):
    """Waits on `sys.meta_path` for one module, and leaves once it is imported."""

    def __init__(self, name: str, action: Callable[[ModuleType], None]) -> None:
        self.name = name
        self.actions = [action]
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def run_actions(self, module: ModuleType) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for action in self.actions:
            action(module)


class _Loader(importlib.abc.Loader):
    """The module's own loader, followed by the actions."""

    def __init__(self, loader: importlib.abc.Loader, finder: _OneModuleFinder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its own loader, so that nothing that looks at it later sees a difference.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._finder.run_actions(module)
