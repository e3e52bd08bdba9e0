"""The worker of the job service in Python: asks the provider, writes the plan and the
job's last state in one statement."""

import aiohttp
import asyncpg
import uvloop
from arq.connections import RedisSettings
from arq.worker import Worker

import peer


async def startup(ctx: dict) -> None:
    ctx["db"] = await asyncpg.create_pool(peer.DATABASE_URL, max_size=16, init=peer.jsonb)
    # Not httpx, whose pool looks at all connections for each request.
    ctx["http"] = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=peer.SLOTS),
        timeout=aiohttp.ClientTimeout(total=60),
        raise_for_status=True,
    )
    peer.ready(READY="1")


async def shutdown(ctx: dict) -> None:
    await ctx["http"].close()


async def plan(ctx: dict, job: str) -> None:
    answers = await ctx["db"].fetchval("select input from jobs where id = $1", job)
    text = "{}"
    if peer.PROVIDER_URL:
        async with ctx["http"].post(
            f"{peer.PROVIDER_URL}/v1/chat/completions",
            headers={"authorization": "Bearer peer"},
            json={
                "model": peer.MODEL,
                "response_format": {"type": "json_object"},
                "messages": peer.prompt(answers),
            },
        ) as response:
            text = (await response.json())["choices"][0]["message"]["content"]
    await ctx["db"].execute(
        "with plan as (insert into plans (job_id, plan) values ($1, $2))"
        " update jobs set state = 'succeeded', finished_at = now() where id = $1",
        job, text,
    )


if __name__ == "__main__":
    uvloop.install()
    Worker(
        functions=[plan],
        redis_settings=RedisSettings.from_dsn(peer.REDIS_URL),
        on_startup=startup,
        on_shutdown=shutdown,
        max_jobs=peer.SLOTS,
        # Ten times as often as by default, and no results, which nobody reads.
        poll_delay=0.05,
        keep_result=0,
    ).run()
