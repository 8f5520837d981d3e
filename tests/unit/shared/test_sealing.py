"""Subjects' keys while the key that wraps them is replaced."""

from __future__ import annotations

import os

import pytest

from shared.errors import Misconfigured
from shared.log.sealing import KEY_BYTES, KeyWrap
from tests.support.builders import ANN, BEN

OLD, NEW = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)


def test_a_key_that_either_key_wrapped_is_unwrapped_during_a_rotation() -> None:
    for wrapping in (KeyWrap(OLD), KeyWrap(NEW)):
        key, wrapped = wrapping.new_key(ANN)
        assert KeyWrap(NEW, OLD).unwrap(ANN, wrapped) == key
        assert KeyWrap(OLD, NEW).unwrap(ANN, wrapped) == key


def test_new_keys_are_wrapped_with_the_first_key_alone() -> None:
    key, wrapped = KeyWrap(NEW, OLD).new_key(ANN)
    assert KeyWrap(NEW).unwrap(ANN, wrapped) == key
    with pytest.raises(Misconfigured):
        KeyWrap(OLD).unwrap(ANN, wrapped)


def test_a_key_of_the_second_key_is_wrapped_again_and_once() -> None:
    key, wrapped = KeyWrap(OLD).new_key(ANN)
    rewrapped = KeyWrap(NEW, OLD).rewrap(ANN, wrapped)
    assert rewrapped is not None
    assert KeyWrap(NEW).unwrap(ANN, rewrapped) == key
    assert KeyWrap(NEW, OLD).rewrap(ANN, rewrapped) is None


def test_a_key_of_neither_or_of_another_user_is_refused() -> None:
    _, wrapped = KeyWrap(os.urandom(KEY_BYTES)).new_key(ANN)
    _, of_ben = KeyWrap(OLD).new_key(BEN)
    for foreign in (wrapped, of_ben, b"", b"torn"):
        with pytest.raises(Misconfigured, match="STARFOLD_SEALING_KEY"):
            KeyWrap(NEW, OLD).rewrap(ANN, foreign)
