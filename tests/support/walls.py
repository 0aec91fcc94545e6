"""The rules of dependency, held against the imports that the source states, those inside functions too."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOMS = ("benchmark", "methods", "datasets", "leaderboard", "configs")
# At the root: what all stand on, and what each of them may itself import there.
ROOT = {
    "errors": set(),
    "version": set(),
    "names": {"errors"},
    "files": {"errors"},
    "registries": {"errors", "names"},  # one class of named things: methods, encoders, datasets, readers, metrics
    "yaml_files": {"errors", "files", "names"},  # cards and settings, which are everywhere
    "text_files": {"errors", "files"},
    "array_files": {"errors", "files"},
    "hdf5_check": set(),  # run in a process of its own, before a file is opened
    "hdf5_files": {"errors", "files"},  # data, predictions and models alike
}
# At the root beside `__init__`, which may import them: what users import; nothing else does.
FACES: Mapping[str, set[str]] = {"plot": {"leaderboard", "errors"}}
TOOLS = {"noxfile"}  # a developer's tool wants it at the root; no part of the package
# What another room may be imported for; None is all of it. The root's modules are open to every room.
MAY_IMPORT: Mapping[str, Mapping[str, set[str] | None]] = {
    "benchmark": {"methods": None, "datasets": None, "leaderboard": None, "configs": None},
    "leaderboard": {},  # a table is made of records alone
    # Types that a method is handed or names, and the cache in which encoders keep features.
    "methods": {
        "datasets": {"cohort", "neighbours", "section", "cache", "cache_root", "entry", "hashing", "tiles", "views"}
    },
    "datasets": {},
    "configs": {},
}
# Inside benchmark: a module may import its own room and those of the floors below, never a neighbour.
FLOORS = (
    {"cli"},
    {"api"},
    {"timing"},  # measures the others
    {"sweep", "predict", "external", "contract"},
    {"engine"},
    {"downstream"},  # what a stored prediction is good for, which verify computes again
    {"read_settings"},
    {"scoring", "settings", "plugins"},
)
LONGEST = 250  # lines of a module


def package(root: Path) -> dict[str, Path]:
    """The modules below a root that is the package: dotted name without the package's own ("" is its `__init__`)."""
    found = sorted(root.glob("*.py")) + [p for room in ROOMS for p in sorted((root / room).rglob("*.py"))]
    names = {path: path.relative_to(root).with_suffix("").parts for path in found}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): path for path, p in names.items()}


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, at the top, inside functions or for types only."""
    modules = package(root)
    return {name: set(_imported(name, path, modules)) - {name} for name, path in modules.items()}


def faults(root: Path) -> list[str]:
    """A sentence for each breach of a rule."""
    modules, graph = package(root), imports(root)
    said = [text for name in graph for target in sorted(graph[name]) if (text := _breach(name, target))]
    said += [
        f"{name}.py stands at the root, which is for {', '.join(ROOT)}: give it to a room"
        for name in modules
        if name and "." not in name and name not in {*ROOT, *FACES, *TOOLS, *ROOMS}
    ]
    said += [f"a circle: {' -> '.join(circle)}" for circle in circles(graph)]
    for name, path in modules.items():
        source = path.read_text(encoding="utf-8")
        if (lines := len(source.splitlines())) > LONGEST:
            said.append(f"{path.relative_to(root)} has {lines} lines, more than {LONGEST}: part it by subject")
        if name and only_forwards(ast.parse(source)):
            said.append(f"{path.relative_to(root)} only forwards: import from where the things are")
        said += [
            f"{path.relative_to(root)}:{line} imports qbench by name: imports inside the package are relative"
            for line in _by_name(ast.parse(source))
        ]
    return said


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """One circle through each module that lies on any, each circle once, as the way round it."""
    found: dict[frozenset[str], list[str]] = {}
    for start in graph:
        way = _way(graph, start)
        if way:
            found.setdefault(frozenset(way), way)
    return list(found.values())


def only_forwards(tree: ast.Module) -> bool:
    """Whether all that a module has is names of others: imports, other names for them, functions that pass arguments on."""
    body = [node for node in tree.body if not _is_docstring(node)]
    made = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom | ast.If)]
    if not made:
        return bool(body)
    return all(_passes_on(node) for node in made)


def _breach(name: str, target: str) -> str:
    room, other = name.split(".", maxsplit=1)[0], target.split(".", maxsplit=1)[0]
    if room in TOOLS or room == other:
        return _between_floors(name, target) if room == "benchmark" else ""
    if not name:  # the package's face
        return "" if target in ("version", "benchmark.api", *FACES) else f"qbench's __init__ imports {target}"
    if not target:
        return f"{name} imports qbench's __init__, which imports it: take the version from version.py"
    if other in FACES:
        return f"{name} imports {target}, which is the users' face of the package"
    if room in FACES:
        return (
            "" if other in FACES[room] else f"{name} imports {target}: it knows {', '.join(sorted(FACES[room]))} only"
        )
    if room in ROOMS:
        if other not in ROOMS:
            return ""
        allowed = MAY_IMPORT[room].get(other, set())
        if allowed is None or (target.split(".")[1:2] and target.split(".")[1] in allowed):
            return ""
        return f"{name} imports {target}: {room} knows {_known(room)} only"
    return "" if other in ROOT.get(room, set()) else f"{name} imports {target}: the root stands below all rooms"


def _known(room: str) -> str:
    others = [
        other if some is None else f"{other}'s {', '.join(sorted(some))}" for other, some in MAY_IMPORT[room].items()
    ]
    return " and ".join([*others, "the root's modules"])


def _between_floors(name: str, target: str) -> str:
    here, there = ([*module.split("."), ""][1] for module in (name, target))
    if here == there or "" in (here, there):
        return ""
    floor = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
    for room in (here, there):
        if room not in floor:
            return f"benchmark.{room} is on no floor: name its floor"
    if floor[here] < floor[there]:
        return ""
    return f"{name} imports {target}, which is {'beside' if floor[here] == floor[there] else 'above'} it"


def _imported(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    inside = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = [part for part in inside if part][: len([p for p in inside if p]) - (node.level - 1)]
        base += node.module.split(".") if node.module else []
        for alias in node.names:
            longer = ".".join([*base, alias.name])
            yield longer if longer in modules else ".".join(base)


def _by_name(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "qbench":
            yield node.lineno
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "qbench" for alias in node.names):
            yield node.lineno


def _way(graph: Mapping[str, set[str]], start: str) -> list[str]:
    """The shortest way from a module back to itself; empty without one."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for target in sorted(graph.get(way[-1], ())):
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _passes_on(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return _is_all(node) or isinstance(node.value, ast.Name | ast.Attribute)
    if not isinstance(node, ast.FunctionDef):
        return False
    body = [
        inner for inner in node.body if not _is_docstring(inner) and not isinstance(inner, ast.ImportFrom | ast.Import)
    ]
    if len(body) != 1 or not isinstance(body[0], ast.Return | ast.Expr) or not isinstance(body[0].value, ast.Call):
        return False
    call, taken = body[0].value, [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    same = all(isinstance(value, ast.Name) for value in given) and isinstance(call.func, ast.Name | ast.Attribute)
    return (
        bool(taken) and same and [value.id for value in given if isinstance(value, ast.Name)] == [a.arg for a in taken]
    )


def _is_all(node: ast.Assign) -> bool:
    return all(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
