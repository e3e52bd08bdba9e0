import { RegimenClient, type paths } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

type Usage = paths["/v1/usage"]["get"]["responses"][200]["content"]["application/json"];
const usage = await regimen.request<Usage>("GET", "/v1/usage");
for (const rate of usage.rates) console.log(rate.policy, rate.remaining, rate.quota);
