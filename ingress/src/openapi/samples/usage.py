import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

response = client.get("/v1/usage")
response.raise_for_status()
for rate in response.json()["rates"]:
    print(rate["policy"], rate["remaining"], rate["quota"])
