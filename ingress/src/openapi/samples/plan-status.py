import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

response = client.get(f"/plan-status/{os.environ['USER_ID']}")
response.raise_for_status()
status = response.json()
print(status["meal_plan_status"], status["workout_plan_status"])
