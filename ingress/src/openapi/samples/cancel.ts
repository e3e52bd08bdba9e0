import { RegimenClient } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

// A job that has ended stays as it is: a ProblemError with status 409.
const job = await regimen.cancel(process.env.JOB!);
console.log(job.id, job.status);
