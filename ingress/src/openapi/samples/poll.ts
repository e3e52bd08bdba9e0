import { RegimenClient } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

// Each request is answered at the job's next change, or after 30 seconds.
let job = await regimen.job(process.env.JOB!, { waitSeconds: 30 });
while (job.status === "queued" || job.status === "running") {
  job = await regimen.job(job.id, { waitSeconds: 30 });
}
console.log(job.status, job.plan);
