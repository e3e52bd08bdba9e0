import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

path = f"/v1/jobs/{os.environ['JOB']}"
response = client.get(path)
response.raise_for_status()
job = response.json()

etag = response.headers["etag"]
response = client.get(path, headers={"if-none-match": etag})
# 304 and no body: the job has not changed since.
if response.status_code == 200:
    job = response.json()
print(response.status_code, job["status"])
