import json
import os

import httpx

# To resume a stream that broke, send the last number as Last-Event-ID.
with httpx.stream(
    "GET",
    f"https://api.example.com/v1/jobs/{os.environ['JOB']}/events",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
    timeout=50,
) as stream:
    stream.raise_for_status()
    for line in stream.iter_lines():
        if line.startswith("data:"):
            event = json.loads(line[5:])
            print(event["seq"], event["kind"], event["data"])
