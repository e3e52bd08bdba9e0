import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

query = {"status": "succeeded", "limit": 20}
while True:
    response = client.get("/v1/jobs", params=query)
    response.raise_for_status()
    page = response.json()
    for job in page["jobs"]:
        print(job["id"], job["kind"], job["created_at"])
    if "next_cursor" not in page:
        break
    query["cursor"] = page["next_cursor"]
