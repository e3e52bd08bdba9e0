// TOKEN: an operator's.
import { RegimenClient } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

const retried = await regimen.request<{ id: string; retry_of: string; created: boolean }>(
  "POST",
  `/admin/jobs/${process.env.JOB}/retry`,
);
console.log(retried.id, retried.created);
