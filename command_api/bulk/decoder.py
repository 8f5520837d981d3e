"""Split the body of a bulk request into rows that are not decoded yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from command_api.bodies.bounded_json import too_deep
from command_api.bodies.models import BulkBody
from shared.errors import InvalidInput, MalformedJson

# One undecoded row.
Raw = msgspec.Raw


def rows_decoder(body: type[BulkBody]) -> Callable[[bytes], list[Raw]]:
    """Return a decoder of a body into its rows.

    It raises `InvalidInput` for too many rows and for any other member beside them, and
    `MalformedJson` if the body is not JSON. A list of `Raw` would be built completely before its
    length was checked: 16 MiB can hold eight million rows. A struct with one field for each
    possible row stops decoding at the first row too many.
    """
    places = [(f"row{n}", Raw | msgspec.UnsetType, msgspec.UNSET) for n in range(body.ROWS_MAX)]
    rows_type = msgspec.defstruct("Rows", places, array_like=True, forbid_unknown_fields=True)
    whole_type = msgspec.defstruct("Whole", [(body.FIELD, rows_type)], forbid_unknown_fields=True)
    decoder = msgspec.json.Decoder(whole_type)

    def decode(content: bytes) -> list[Raw]:
        try:
            whole: Any = decoder.decode(content)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"send an object with {body.FIELD!r}, a list of at most {body.ROWS_MAX:,} rows,"
                " and nothing else",
                pointer=f"/{body.FIELD}",
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedJson from error
        except RecursionError as error:
            raise too_deep() from error
        rows = msgspec.structs.astuple(getattr(whole, body.FIELD))
        return [row for row in rows if row is not msgspec.UNSET]

    return decode
