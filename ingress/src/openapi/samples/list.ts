import { RegimenClient, type Job } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

let cursor = "";
do {
  const page = await regimen.request<{ jobs: Job[]; next_cursor?: string }>(
    "GET",
    `/v1/jobs?status=succeeded&limit=20${cursor}`,
  );
  for (const job of page.jobs) console.log(job.id, job.kind, job.created_at);
  cursor = page.next_cursor ? `&cursor=${page.next_cursor}` : "";
} while (cursor);
