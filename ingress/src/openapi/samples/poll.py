import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

# Each request is answered at the job's next change, or after 30 seconds.
while True:
    response = client.get(
        f"/v1/jobs/{os.environ['JOB']}", headers={"prefer": "wait=30"}, timeout=60
    )
    response.raise_for_status()
    job = response.json()
    if job["status"] not in ("queued", "running"):
        break
print(job["status"], job.get("plan"))
