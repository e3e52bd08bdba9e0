"""A service without a queue, in the shape of the Python service that Regimen replaces:
FastAPI answers at once and makes both plans in background tasks of the same process,
through the official client of the provider."""

import json
import uuid
from contextlib import asynccontextmanager

import asyncpg
import httpx
from fastapi import BackgroundTasks, FastAPI, HTTPException
from openai import AsyncOpenAI
from pydantic import BaseModel

import peer


class Order(BaseModel):
    user_id: uuid.UUID
    quiz_result_id: uuid.UUID
    answers: dict
    ai_provider: str = "openai"
    model_name: str = peer.MODEL


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.db = await asyncpg.create_pool(peer.DATABASE_URL, max_size=16, init=peer.jsonb)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    app.state.provider = AsyncOpenAI(
        api_key="peer",
        base_url=f"{peer.PROVIDER_URL}/v1",
        max_retries=2,
        http_client=httpx.AsyncClient(limits=limits, timeout=60, trust_env=False),
    )
    yield


app = FastAPI(lifespan=lifespan)


def calculations(answers: dict) -> dict:
    """Energy and macronutrients, for the answer of the request."""
    weight = float(answers["currentWeight"]["kg"])
    height = float(answers["height"]["cm"])
    bmr = 10 * weight + 6.25 * height - 5 * int(answers["age"]) + 5
    goal = round(max(1500, bmr * 1.55))
    protein = round(weight * 1.8)
    fats = round(goal * 0.28 / 9)
    return {
        "bmi": round(weight / (height / 100) ** 2, 1),
        "bmr": bmr,
        "goalCalories": goal,
        "macros": {"protein_g": protein, "fat_g": fats, "carbs_g": (goal - 4 * protein - 9 * fats) // 4},
    }


async def make(job: uuid.UUID, kind: str, order: Order, numbers: dict) -> None:
    try:
        reply = await app.state.provider.chat.completions.create(
            model=order.model_name,
            response_format={"type": "json_object"},
            messages=peer.prompt(f"{kind}: {peer.text(order.answers)} {peer.text(numbers)}"),
        )
        plan = json.loads(reply.choices[0].message.content)
        await app.state.db.execute(
            "insert into plans (job_id, plan) values ($1, $2)", job, peer.text(plan)
        )
        state = "succeeded"
    except Exception:  # noqa: BLE001: as the replaced service does, the row says that it failed
        state = "failed"
    await app.state.db.execute(
        "update jobs set state = $2, finished_at = now() where id = $1", job, state
    )


@app.post("/generate-plans")
async def generate(order: Order, background: BackgroundTasks):
    numbers = calculations(order.answers)
    for kind in ("meal", "workout"):
        job = uuid.uuid4()
        await app.state.db.execute(
            "insert into jobs (id, user_id, state, input) values ($1, $2, 'generating', $3)",
            job, order.user_id, peer.text(order.answers),
        )
        background.add_task(make, job, kind, order, numbers)
    return {
        "success": True,
        "calculations": numbers,
        "macros": numbers["macros"],
        "meal_plan_status": "generating",
        "workout_plan_status": "generating",
        "message": "Plans are being generated",
    }


@app.get("/plan-status/{user_id}")
async def status(user_id: uuid.UUID):
    rows = await app.state.db.fetch(
        "select state from jobs where user_id = $1 order by created_at desc limit 2", user_id
    )
    if not rows:
        raise HTTPException(404, "there are no plans")
    return {"success": True, "meal_plan_status": rows[0]["state"], "workout_plan_status": rows[-1]["state"]}


if __name__ == "__main__":
    peer.serve(app)
