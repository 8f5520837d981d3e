"""A store whose connection is lost at the worst of moments."""

from __future__ import annotations

from command_api.store.append import Append
from command_api.store.commit_store import CommitStore
from shared.errors import StoreAway
from shared.ids import Position


class LossyStore(CommitStore):
    """Loses the connection at the next `times` appends.

    The first of them may have been committed before or not.
    """

    after_commit = True
    times = 1

    async def append(self, append: Append) -> Position:
        if self.times == 0:
            return await super().append(append)
        self.times -= 1
        if self.after_commit:
            self.after_commit = False
            await super().append(append)
        await self.close()
        raise StoreAway("the connection was lost")
