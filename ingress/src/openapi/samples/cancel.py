import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

response = client.delete(f"/v1/jobs/{os.environ['JOB']}")
# 409 when the job has ended: it stays as it is.
response.raise_for_status()
print(response.json()["id"], response.json()["status"])
