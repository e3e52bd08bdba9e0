# TOKEN: an operator's.
import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

response = client.post(f"/admin/jobs/{os.environ['JOB']}/retry")
response.raise_for_status()
print(response.json()["id"], response.json()["created"])
