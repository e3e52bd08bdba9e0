"""A job service as it is commonly built in Python: FastAPI, asyncpg, arq."""

import time
import uuid
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import jwt
from arq import create_pool
from arq.connections import RedisSettings
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

import peer

ALLOWED_PER_HOUR = 1_000_000


class Order(BaseModel):
    kinds: list[str] = ["meal"]
    answers: dict


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.db = await asyncpg.create_pool(peer.DATABASE_URL, max_size=16, init=peer.jsonb)
    app.state.queue = await create_pool(RedisSettings.from_dsn(peer.REDIS_URL))
    yield


app = FastAPI(lifespan=lifespan)


def user(request: Request) -> str:
    if not peer.JWT_SECRET:
        return peer.NOBODY
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        claims = jwt.decode(
            token, peer.JWT_SECRET, algorithms=["HS256"], audience="authenticated"
        )
    except jwt.PyJWTError as error:
        raise HTTPException(401, "the token is not valid") from error
    return claims["sub"]


async def limited(request: Request, user: Annotated[str, Depends(user)]) -> str:
    if peer.JWT_SECRET:
        key = f"limit:{user}:{int(time.time()) // 3600}"
        async with request.app.state.queue.pipeline(transaction=True) as pipe:
            count, _ = await pipe.incr(key).expire(key, 3600).execute()
        if count > ALLOWED_PER_HOUR:
            raise HTTPException(429, "too many requests")
    return user


@app.post("/plans", status_code=202)
async def submit(order: Order, request: Request, user: Annotated[str, Depends(limited)]):
    job = uuid.uuid4()
    await request.app.state.db.execute(
        "insert into jobs (id, user_id, input) values ($1, $2, $3)",
        job, user, peer.text(order.model_dump()),
    )
    await request.app.state.queue.enqueue_job("plan", str(job), _job_id=str(job))
    return {"id": str(job), "status": "queued"}


@app.get("/plans/{job}")
async def status(job: uuid.UUID, request: Request, user: Annotated[str, Depends(user)]):
    row = await request.app.state.db.fetchrow(
        "select id, state, created_at, finished_at from jobs where id = $1 and user_id = $2",
        job, user,
    )
    if row is None:
        raise HTTPException(404, "there is no such job")
    return dict(row)


if __name__ == "__main__":
    peer.serve(app)
