import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

response = client.get("/v1/plans/meal/active")
# 404 until the user has a meal plan.
response.raise_for_status()
print(response.json()["id"], response.json()["plan"])
