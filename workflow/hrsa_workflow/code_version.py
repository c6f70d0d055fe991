"""A hash of the code that a job runs: its script and every module of this project behind it.

Snakemake compares a script's time stamp, does not see edits in the modules that the script imports,
and calls a job stale when its script was only touched. Each rule therefore carries this hash as a
parameter. Comments, docstrings and formatting do not change it.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("hrsa", "hrsa_workflow")
# How a job logs, counts threads and reports a failure has no effect on what it computes.
WITHOUT_EFFECT = ("hrsa_workflow.job",)
DIGITS = 16


@cache
def code_version(script: Path, root: Path = ROOT) -> str:
    """Hash a script and the project's modules that it imports, transitively.

    Imports inside functions count. Of a package, the text of its ``__init__`` counts but is not
    followed: scripts and modules import from the module that defines a name.

    Parameters
    ----------
    script
        A Python file.
    root
        Folder that holds the packages.

    Returns
    -------
    str
        Hexadecimal digits.

    Raises
    ------
    ValueError
        A name is imported from a package rather than from its module, so that the code behind it
        would go unseen.
    """
    digest = hashlib.sha256(_text(script).encode())
    for module in sorted(_reachable(script, root)):
        digest.update(f"\n{module}\n".encode())
        digest.update(_text(module_file(module, root)).encode())
    return digest.hexdigest()[:DIGITS]


@cache
def imported_modules(script: Path, root: Path = ROOT) -> frozenset[str]:
    """Name the project's modules that a script imports, transitively, packages included."""
    return frozenset(_reachable(script, root))


def module_file(module: str, root: Path = ROOT) -> Path:
    """Find the file of a module or, for a package, its ``__init__``."""
    path = root / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _reachable(script: Path, root: Path) -> set[str]:
    found: set[str] = set()
    waiting = set(_imports(script, "", root))
    while waiting:
        module = waiting.pop()
        if module in found or module in WITHOUT_EFFECT:
            continue
        found.add(module)
        file = module_file(module, root)
        if file.name != "__init__.py":
            waiting |= _imports(file, module, root) - found
    return found


@cache
def _imports(file: Path, module: str, root: Path) -> frozenset[str]:
    """Name the project's modules that a file imports itself, with the packages above them."""
    found: set[str] = set()
    for node in ast.walk(_tree(file)):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = _from_import(_absolute(node, module), node, file, root)
        _check_exist(names, file, root)
        found |= names
    ours = {name for name in found if name.split(".")[0] in PACKAGES}
    return frozenset(parent for name in ours for parent in _with_packages(name))


def _from_import(base: str, node: ast.ImportFrom, file: Path, root: Path) -> set[str]:
    if base.split(".")[0] not in PACKAGES or not (root / base.replace(".", "/")).is_dir():
        return {base}
    modules = {f"{base}.{alias.name}" for alias in node.names}
    for name in modules:
        if not module_file(name, root).exists():
            raise ValueError(
                f"{file}, line {node.lineno}: `{name}` is imported from the package `{base}`; "
                "import it from the module that defines it, or edits of that would go unseen."
            )
    return modules


def _check_exist(names: set[str], file: Path, root: Path) -> None:
    for name in names:
        if name.split(".")[0] in PACKAGES and not module_file(name, root).exists():
            raise ValueError(f"{file} imports `{name}`, but there is no such module")


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """Give the absolute name of the module that a ``from … import`` names."""
    if not node.level:
        return node.module or ""
    package = module.split(".")[: -node.level]
    return ".".join([*package, *(node.module or "").split(".")]).strip(".")


def _with_packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@cache
def _text(file: Path) -> str:
    """Write a file's syntax tree without docstrings; comments and layout are not in it."""
    tree = _tree(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
