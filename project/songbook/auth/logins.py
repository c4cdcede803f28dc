"""Logins by password, within the rate limit."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from asyncpg import Record as Row
from fastapi import Depends
from sqlmodel import SQLModel

from songbook.auth.accounts import LookupField, find_account, rehash_account
from songbook.auth.passwords import verify_password
from songbook.auth.throttle import count_attempt, login_keys
from songbook.config import Settings
from songbook.db import Database
from songbook.http import StrictRequest, dependency
from songbook.metrics import Counter

_LOGINS = Counter("songbook_logins_total", "Logins within the rate limit.", ("outcome",))


@dataclass(frozen=True)
class Logins:
    """The logins from one IP address."""

    db: Database
    accounts: type[SQLModel]
    settings: Settings
    address: str | None

    async def authenticate(self, by: LookupField, value: int | str, password: str) -> Row | None:
        """Return the account if it is active and the password right, else None after the same time.

        Raises TooManyRequests and ServiceUnavailable.
        """
        account = await self._authenticate(by, value, password)
        _LOGINS.inc("succeeded" if account else "failed")
        return account

    async def _authenticate(self, by: LookupField, value: int | str, password: str) -> Row | None:
        # lower() turns the Turkish İ into i, which would be a second name of the same account
        is_ascii = str(value).isascii()
        row = await self.db.fetch(find_account(self.accounts, by, value)) if is_ascii else None
        # counted by the given name: a common count of name and e-mail would disclose the pair
        await self._count(row["email"] if row and by == "id" else str(value))
        is_right, rehashed = await verify_password(password, row and row["hashed_password"])
        if row is None or not is_right or not row["is_active"]:
            return None
        if rehashed:
            old = row["hashed_password"]
            await self.db.fetch(rehash_account(self.accounts, row["id"], old, rehashed))
        return await self._reread_locked(row)

    async def _count(self, name: str) -> None:
        keys = login_keys(
            self.address,
            name,
            per_address=self.settings.login_tries_per_address,
            per_name=self.settings.login_tries_per_name,
        )
        await count_attempt(self.db, keys, timedelta(minutes=self.settings.login_window_minutes))

    async def _reread_locked(self, row: Row) -> Row | None:
        """Return the account after concurrent changes, None if they changed its credentials.

        Otherwise a token for the old password could look newer than the change of it.
        """
        now = await self.db.fetch(find_account(self.accounts, "id", row["id"], for_share=True))
        if now is None or not now["is_active"]:
            return None
        return now if now["credentials_changed_at"] == row["credentials_changed_at"] else None


@dependency(error_statuses=(429, 503))
async def get_logins(request: StrictRequest) -> Logins:
    """Return the logins from the IP address of the client."""
    service, client = request.service, request.client
    assert service.accounts, "create_app rejects such routes without accounts"
    address = client.host if client else None
    return Logins(request.database, service.accounts, service.settings, address)


LoginsDep = Annotated[Logins, Depends(get_logins)]
