"""Starts Prefect's server, as `prefect server start` does and with its options, but on SQLite without "database is locked".

Prefect begins nearly every transaction on SQLite as one that only reads. When it then writes, and somebody else has
written since it began, SQLite refuses at once, whatever the time-out: a worker's sign of life is lost, or a state. A
transaction that begins as a writer waits for the writer before it, up to a minute. PostgreSQL has no such trouble.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_begin_transaction = AioSqliteConfiguration.begin_transaction


@asynccontextmanager
async def _begin_as_writer(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    async with _begin_transaction(self, session, with_for_update=True) as transaction:
        yield transaction


def begin_as_writers() -> None:
    """Let every transaction on SQLite in this process begin as a writer. It can be called any number of times."""
    AioSqliteConfiguration.begin_transaction = _begin_as_writer  # type: ignore[method-assign]


if __name__ == "__main__":
    from prefect.cli import app

    begin_as_writers()
    sys.argv[1:1] = ["server", "start"]
    app()
