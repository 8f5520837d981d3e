"""An operator's error: one clear line on standard error and exit status 1."""

from __future__ import annotations


class OperatorError(Exception):
    """The message says what is wrong and, where it helps, what to do about it."""
