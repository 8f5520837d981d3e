"""The query API takes names and numbers of the read models' layout from `shared/read_model`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import query_api
from shared.read_model import keys, kinds

ROOM = Path(query_api.__file__).parent
NAMES = {
    *kinds.KINDS,
    kinds.RATERS,
    kinds.CATALOGUE,
    kinds.LEFT,
    kinds.RATINGS,
    kinds.REVIEWS,
    kinds.POSITIONS,
    kinds.CHANGE_ORDER,
    kinds.CHANGED_MOVIES,
    kinds.CHANGED_MOVIE_FIELD.decode(),
    keys.CHECKPOINT,
    keys.REBUILDING,
    keys.MOVIES,
    keys.PROFILES,
    keys.CHANGES,
}
# The steps of a rank, of its check bits, and of a day in a history.
STEPS = {16, 127, 128}
# OpenAPI's groups of operations have names of their own.
DOCUMENTATION = {"tag", "access", "answers"}


def layout_literals(tree: ast.AST) -> Iterator[str]:
    if isinstance(tree, ast.keyword) and tree.arg in DOCUMENTATION:
        return
    match tree:
        case ast.Constant(value=str() | bytes() as value):
            text = value if isinstance(value, str) else value.decode("latin-1")
            if text in NAMES or text.startswith("sf:"):
                yield text
        case ast.BinOp(op=ast.Mod() | ast.FloorDiv() | ast.Mult(), right=ast.Constant(value=step)):
            if step in STEPS:
                yield ast.unparse(tree)
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=":"), *_]):
            yield ast.unparse(tree)
    for part in ast.iter_child_nodes(tree):
        yield from layout_literals(part)


@pytest.mark.parametrize(
    "source",
    ['read(("movie", "stats"))', "rank % 16", 'f"{kind}:{entity.hex}"', 'entry[b"movie"]'],
)
def test_a_literal_of_the_layout_is_found(source: str) -> None:
    assert list(layout_literals(ast.parse(source)))


def test_the_query_api_has_no_literal_of_the_layout() -> None:
    found = {
        f"{path.relative_to(ROOM)}: {literal}"
        for path in ROOM.rglob("*.py")
        if not path.name.endswith("shapes.py")  # Examples of answers.
        for literal in layout_literals(ast.parse(path.read_text()))
    }
    assert found == set()
