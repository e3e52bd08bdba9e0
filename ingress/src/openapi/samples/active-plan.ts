import { RegimenClient } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

const active = await regimen.activePlan("meal");
console.log(active?.id, active?.plan);
