import asyncio
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from flows.server.__main__ import begin_as_writers

WRITE = text("UPDATE numbers SET value = value + 1")
MEANWHILE_SECONDS = 0.2


async def read_and_write_while_somebody_writes(path: Path) -> int:
    """Return what two transactions have made of 0, the first of which reads before the other one writes."""
    database = AioSqliteConfiguration(f"sqlite+aiosqlite:///{path}")
    engine = await database.engine()

    async def write() -> None:
        async with await database.session(engine) as session, database.begin_transaction(session):
            await session.execute(WRITE)

    async with await database.session(engine) as session, database.begin_transaction(session):
        await session.execute(text("CREATE TABLE numbers AS SELECT 0 AS value"))
    async with await database.session(engine) as session, database.begin_transaction(session):
        await session.execute(text("SELECT value FROM numbers"))
        other = asyncio.create_task(write())
        await asyncio.wait({other}, timeout=MEANWHILE_SECONDS)
        await session.execute(WRITE)
    await other
    async with await database.session(engine) as session:
        value: int = (await session.execute(text("SELECT value FROM numbers"))).scalar_one()
    return value


def test_a_transaction_that_reads_and_then_writes_waits_for_others_where_prefect_has_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(read_and_write_while_somebody_writes(tmp_path / "prefect's.db"))
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", AioSqliteConfiguration.begin_transaction)
    begin_as_writers()
    assert asyncio.run(read_and_write_while_somebody_writes(tmp_path / "ours.db")) == 2
