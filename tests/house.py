"""Measures the house: what grows unseen until nobody finds their way. `test_house` holds each figure at its ceiling.

`python -m tests.house` prints the figures and what they count.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT, TESTS = ("billing", "portal", "config"), ("tests",)
LONG_FUNCTION, LONG_MODULE, MANY_PARAMETERS, MANY_ASSERTS = 70, 500, 9, 3
# Words that sound translated or are private to this code; the field has others.
BANNED = re.compile(
    r"\b(?:for ever|happenings?|comes? about|takes? hold|keeps itself|is let be|stands on|mend(?:s|ed)?)\b",
    re.IGNORECASE,
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A Python file: its dotted name, its text and its tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def functions(self) -> Iterator[Function]:
        """All functions, methods and inner ones."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    @property
    def prose(self) -> Iterator[str]:
        """Docstrings and comments."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function | ast.ClassDef | ast.Module) and (said := ast.get_docstring(node)):
                yield said
        yield from re.findall(r"#.*", self.text)


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """The Python files of these folders, without migrations."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *(f"{folder}/*.py" for folder in folders)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = []
    for name in sorted(listed.stdout.split()):
        if "/migrations/" in name or not (ROOT / name).exists():
            continue
        text = (ROOT / name).read_text()
        dotted = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        found.append(Module(dotted, text, ast.parse(text)))
    return tuple(found)


def circles() -> list[str]:
    """Modules that import each other in a circle, imports inside functions included; each circle by its members."""
    arrows = _arrows()
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[str] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in arrows[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(" ".join(sorted(members)))

    for name in arrows:
        if name not in index:
            visit(name)
    return sorted(found)


def _arrows() -> dict[str, set[str]]:
    known = {module.name for module in modules(*PRODUCT)}
    arrows: dict[str, set[str]] = {}
    for module in modules(*PRODUCT):
        targets = set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                # A package is meant only where a name is none of its modules.
                targets |= inside & known | ({node.module} if inside - known else set())
        # An index of its own modules is no circle.
        arrows[module.name] = {each for each in targets & known if not module.name.startswith(f"{each}.")} - {
            module.name
        }
    return arrows


def upward_reads() -> list[str]:
    """SQL texts that name a table of a room above their own: such a read is an import that the linter cannot see."""
    height = _heights()
    owner = {
        f"billing_{node.name.lower()}": room
        for room in height
        for module in modules(*PRODUCT)
        if module.name.startswith(f"billing.{room}.") and module.name.endswith("models")
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
    }
    found = set()
    for module in modules(*PRODUCT):
        room = module.name.split(".")[1] if module.name.startswith("billing.") else ""
        texts = (node.value for node in ast.walk(module.tree) if isinstance(node, ast.Constant))
        names = {name for text in texts if isinstance(text, str) for name in re.findall(r"\bbilling_[a-z]+\b", text)}
        found |= {
            f"{module.name} reads {name}"
            for name in names & owner.keys()
            if room in height and height[owner[name]] > height[room]
        }
    return sorted(found)


def _heights() -> dict[str, int]:
    """How high each room of billing stands, by the contract of the layers."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each.get("containers") == ["billing"])
    return {room.strip(" ()"): place for place, layer in enumerate(reversed(layers)) for room in layer.split("|")}


def long_functions() -> list[str]:
    """Functions of more than LONG_FUNCTION lines."""
    return [
        f"{module.name}.{each.name} {lines}"
        for module in modules(*PRODUCT)
        for each in module.functions
        if (lines := (each.end_lineno or 0) - each.lineno + 1) > LONG_FUNCTION
    ]


def long_modules() -> list[str]:
    """Modules of more than LONG_MODULE lines."""
    return [f"{module.name} {n}" for module in modules(*PRODUCT) if (n := module.text.count("\n")) > LONG_MODULE]


def crowded_functions() -> list[str]:
    """Functions with MANY_PARAMETERS or more."""
    found = []
    for module in modules(*PRODUCT):
        for each in module.functions:
            count = len([*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs])
            if count >= MANY_PARAMETERS:
                found.append(f"{module.name}.{each.name} {count}")
    return found


def banned_words() -> list[str]:
    """Words in docstrings and comments that say it worse than the field does."""
    return [
        f"{module.name}: {word}"
        for module in modules(*PRODUCT)
        for text in module.prose
        for word in BANNED.findall(text)
    ]


def tests_of_many_asserts() -> tuple[list[str], int]:
    """Tests with more than MANY_ASSERTS, and how many tests there are."""
    tests = [
        (f"{module.name}.{each.name}", sum(isinstance(node, ast.Assert) for node in ast.walk(each)))
        for module in modules(*TESTS)
        for each in module.functions
        if each.name.startswith("test_")
    ]
    return [f"{name} {count}" for name, count in tests if count > MANY_ASSERTS], len(tests)


def main() -> None:
    """Print each figure with what it counts."""
    for measure in (circles, upward_reads, long_functions, long_modules, crowded_functions, banned_words):
        found = measure()
        print(f"{measure.__name__}: {len(found)}", *found, sep="\n  ")
    found, total = tests_of_many_asserts()
    print(f"tests with at most {MANY_ASSERTS} asserts: {1 - len(found) / total:.1%} of {total}")


if __name__ == "__main__":
    main()
