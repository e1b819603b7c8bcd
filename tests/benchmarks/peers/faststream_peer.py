"""FastStream: coroutines, acknowledgement after the work, a quorum queue, results with confirms."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import psycopg_pool
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from tests.benchmarks.peers.line import (
    BROKER_URL,
    CONCURRENCY,
    DATABASE_URL,
    PREFETCH,
    RESULT_TYPE,
    RESULTS_QUEUE,
    UPSERT,
    WORK_QUEUE,
    PeerLine,
)

broker = RabbitBroker(BROKER_URL, default_channel=Channel(prefetch_count=PREFETCH, on_return_raises=True))
pool = psycopg_pool.AsyncConnectionPool(DATABASE_URL, min_size=CONCURRENCY, max_size=CONCURRENCY, open=False)
sessions: list[aiohttp.ClientSession] = []


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """Keep connections open while the app runs."""
    async with pool, aiohttp.ClientSession(auth=aiohttp.BasicAuth("company+public", "private-key")) as session:
        sessions.append(session)
        yield


app = FastStream(broker, lifespan=lifespan)


@broker.subscriber(
    RabbitQueue(WORK_QUEUE, queue_type=QueueType.QUORUM, durable=True), ack_policy=AckPolicy.NACK_ON_ERROR
)
async def sync_line(line: PeerLine) -> None:
    """Sync one line, and publish its result."""
    session = sessions[0]
    async with session.get(line.url, raise_for_status=True) as answer:
        before = float((await answer.json())["quantity"])
    if before != line.users:
        async with session.patch(line.url, json=line.patch, raise_for_status=True) as answer:
            if (await answer.json())["quantity"] != line.users:
                raise ValueError(f"{line.url} holds another quantity")
    async with pool.connection() as connection:
        await connection.execute(UPSERT, line.row(before))
    await broker.publish(
        line.result(before),
        RESULTS_QUEUE,
        content_type="application/json",
        message_type=RESULT_TYPE,
        persist=True,
        mandatory=True,
    )


if __name__ == "__main__":
    asyncio.run(app.run())
