"""Bounds of JSON, of rows that are split before they are decoded, and of texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from command_api.bodies.bounded_json import (
    CONTAINERS_MAX,
    DEPTH_MAX,
    ITEMS_MAX,
    MEMBERS_MAX,
    Either,
    decode_json,
    validated,
)
from command_api.bodies.fields import COMBINING_IN_A_ROW_MAX, LIST_ITEMS_MAX
from command_api.bodies.models import (
    ExternalUserBody,
    MovieBody,
    RatingBody,
    RatingsBody,
    SignUpBody,
)
from command_api.bulk.decoder import rows_decoder
from shared.errors import InvalidInput, MalformedJson
from shared.web.problems import InvalidFields

DECODE_ROWS = rows_decoder(RatingsBody)
MOVIE = {"title": "Stalker", "year": 1979}


def members(count: int) -> dict[str, int]:
    return {f"m{n}": 1 for n in range(count)}


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("wrap", ["%s", "[%s]", '{"inner": [%s]}'])
def test_an_object_has_so_many_members_wherever_it_is(wrap: str) -> None:
    good, bad = ((wrap % json.dumps(members(MEMBERS_MAX + more))).encode() for more in (0, 1))
    assert decode_json(good) == json.loads(good)
    with pytest.raises(InvalidInput, match="64 members"):
        decode_json(bad)


@pytest.mark.parametrize("wrap", ["%s", "[%s]", '{"inner": %s}'])
def test_a_list_has_so_many_items_wherever_it_is(wrap: str) -> None:
    good, bad = ((wrap % json.dumps([1] * (ITEMS_MAX + more))).encode() for more in (0, 1))
    assert decode_json(good) == json.loads(good)
    with pytest.raises(InvalidInput, match="1,000 items"):
        decode_json(bad)


@pytest.mark.parametrize("one", ["[]", "{}"])
def test_there_are_so_many_lists_and_objects(one: str) -> None:
    """Whatever texts hold."""
    text = "[{" + '\\"[{' * 2_000
    half = ",".join([one] * (CONTAINERS_MAX // 2 - 2))
    body = '{"a": [%s], "b": [%s, "%s"]%s}'
    good = (body % (half, half, text, f', "c": {one}')).encode()
    bad = (body % (half, half, text, f', "c": {one}, "d": {one}')).encode()
    assert decode_json(good) == json.loads(good)
    with pytest.raises(InvalidInput, match="1,000 lists"):
        decode_json(bad)


def test_values_are_nested_so_deep_and_no_deeper() -> None:
    assert decode_json(nested(DEPTH_MAX)) == json.loads(nested(DEPTH_MAX))
    for depth in (DEPTH_MAX + 1, 500, 500_000):
        with pytest.raises(InvalidInput, match=r"nested|lists and objects"):
            decode_json(nested(depth))


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": 1', '"\\ud800"', "'a'", "[1,]"])
def test_what_is_no_json_is_malformed(text: str) -> None:
    with pytest.raises(MalformedJson):
        decode_json(text.encode())


@pytest.mark.parametrize("text", ["9" * 5_000, "1e400"])
def test_a_number_that_no_field_may_have_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        decode_json(text.encode())


def test_an_unusual_body_is_validated_as_any_other() -> None:
    """Colons and brackets in a review are no members and no lists."""
    review = ":[{" * 1_000
    body = json.dumps({"score": 4, "review": review}).encode()
    assert validated(RatingBody, body).review == review
    for unknown in (1, MEMBERS_MAX - 1):
        with pytest.raises(InvalidFields) as wrong:
            validated(RatingBody, json.dumps({"score": 4} | members(unknown)).encode())
        assert len(wrong.value.wrong) == unknown
    with pytest.raises(InvalidInput):
        validated(RatingBody, json.dumps({"score": 4} | members(100_000)).encode())


def test_rows_come_undecoded_and_in_order() -> None:
    rows = [b'{"score": 1}', b"null", b'"x"', b"[]"]
    decoded = DECODE_ROWS(b'{"ratings": [' + b", ".join(rows) + b"]}")
    assert [bytes(row) for row in decoded] == rows
    assert DECODE_ROWS(b'{"ratings": []}') == []


@pytest.mark.parametrize("rows", [10_000, 10_001])
def test_there_are_no_more_rows_than_there_may_be(rows: int) -> None:
    body = b'{"ratings": [' + b",".join([b"1"] * rows) + b"]}"
    if rows <= RatingsBody.ROWS_MAX:
        assert len(DECODE_ROWS(body)) == rows
    else:
        with pytest.raises(InvalidInput, match="10,000 rows"):
            DECODE_ROWS(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'{"ratings": 1}',
        b'{"ratings": {}}',
        b'{"ratings": [], "more": 1}',
        b'{"%s": 1}' % (b"x" * 1_000_000),
        b'{"ratings": %s}' % nested(100_000),
    ],
)
def test_rows_come_with_nothing_beside_them(body: bytes) -> None:
    """The refusal does not repeat what came."""
    with pytest.raises(InvalidInput) as refused:
        DECODE_ROWS(body)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("body", [b"", b"{", b'{"ratings": [1 2]}', b'{"ratings": [NaN]}'])
def test_a_bulk_body_that_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        DECODE_ROWS(body)


def test_a_list_is_refused_before_its_items() -> None:
    """An error of one item each would cost more than the body."""
    assert len(MovieBody(**MOVIE, cast=["x"] * LIST_ITEMS_MAX).cast) == LIST_ITEMS_MAX
    for items in (["x"] * (LIST_ITEMS_MAX + 1), [1] * 50_000):
        with pytest.raises(ValidationError) as wrong:
            MovieBody.model_validate({**MOVIE, "cast": items})
        assert wrong.value.error_count() == 1


@pytest.mark.parametrize(
    ("model", "field"),
    [(RatingBody, "review"), (MovieBody, "title"), (MovieBody, "description")],
)
def test_so_many_combining_marks_follow_one_another(model: Any, field: str) -> None:
    """Normalizing them takes the square of their number in steps."""
    marks = "\u0301\u0316" * COMBINING_IN_A_ROW_MAX
    body = {"score": 4} if model is RatingBody else dict(MOVIE)
    good = "a" + marks[:COMBINING_IN_A_ROW_MAX] + "e" + marks[:COMBINING_IN_A_ROW_MAX]
    assert model.model_validate(body | {field: good})
    with pytest.raises(ValidationError, match="combining marks"):
        model.model_validate(body | {field: "a" + marks[: COMBINING_IN_A_ROW_MAX + 1]})


def test_a_body_is_one_of_two_and_never_something_of_both() -> None:
    either = Either("external_id", ExternalUserBody)
    person = {"display_name": "Ann", "email": "ann@x.org", "password": "correct horse battery"}
    external = {"display_name": "Ann", "external_id": "x"}
    for value, kind in ((person, SignUpBody), (external, ExternalUserBody)):
        assert type(validated(SignUpBody, json.dumps(value).encode(), either)) is kind
    neither: dict[str, str | None] = {**person, "external_id": None}
    for wrong_value, wrong in (
        (person | external, {"email", "password"}),
        ({"display_name": "Ann"}, {"email", "password"}),
        (neither, {"external_id", "email", "password"}),
    ):
        with pytest.raises(InvalidFields) as refused:
            validated(SignUpBody, json.dumps(wrong_value).encode(), either)
        assert {location[1] for location, _ in refused.value.wrong} == wrong


def test_texts_are_normalized_and_hold_no_controls() -> None:
    assert RatingBody(score=1, review=" \x1fCafe\u0301\n\tNoir\x85").review == "Café\n\tNoir"
    for control in ("\x00", "\x1b", "\x7f", "\x9f"):
        with pytest.raises(ValidationError, match="control character"):
            RatingBody(score=1, review=f"a{control}b")
