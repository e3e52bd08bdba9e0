import { RegimenClient } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

const status = await regimen.request<{
  meal_plan_status: string;
  workout_plan_status: string;
}>("GET", `/plan-status/${process.env.USER_ID}`);
console.log(status.meal_plan_status, status.workout_plan_status);
