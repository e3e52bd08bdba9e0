import type { Job } from "regimen-client";

const url = `https://api.example.com/v1/jobs/${process.env.JOB}`;
const authorization = `Bearer ${process.env.TOKEN}`;

const first = await fetch(url, { headers: { authorization } });
if (!first.ok) throw new Error(await first.text());
let job = (await first.json()) as Job;

const etag = first.headers.get("etag") ?? "";
const second = await fetch(url, { headers: { authorization, "if-none-match": etag } });
// 304 and no body: the job has not changed since.
if (second.status === 200) job = (await second.json()) as Job;
console.log(second.status, job.status);
