"""The worker of the job service in Python: asks the provider, writes the plan and the
job's last state in one statement."""

import asyncpg
import httpx
import uvloop
from arq.connections import RedisSettings
from arq.worker import Worker

import peer


async def startup(ctx: dict) -> None:
    ctx["db"] = await asyncpg.create_pool(peer.DATABASE_URL, max_size=16, init=peer.jsonb)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    ctx["http"] = httpx.AsyncClient(limits=limits, timeout=60, trust_env=False)
    peer.ready(READY="1")


async def plan(ctx: dict, job: str) -> None:
    answers = await ctx["db"].fetchval("select input from jobs where id = $1", job)
    text = "{}"
    if peer.PROVIDER_URL:
        response = await ctx["http"].post(
            f"{peer.PROVIDER_URL}/v1/chat/completions",
            headers={"authorization": "Bearer peer"},
            json={
                "model": peer.MODEL,
                "response_format": {"type": "json_object"},
                "messages": peer.prompt(answers),
            },
        )
        response.raise_for_status()
        text = response.json()["choices"][0]["message"]["content"]
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
        max_jobs=peer.SLOTS,
        # Ten times as often as by default, and no results, which nobody reads.
        poll_delay=0.05,
        keep_result=0,
    ).run()
