import { RegimenClient } from "regimen-client";

const regimen = new RegimenClient({
  baseUrl: "https://api.example.com",
  token: () => process.env.TOKEN,
});

// Sent again after a broken connection, with the same key.
const { jobs, nutrition } = await regimen.submit(
  {
    kinds: ["meal", "workout"],
    answers: {
      age: 34, gender: "female", height: {cm: "168"},
      currentWeight: {kg: "71.5"}, targetWeight: {kg: "65"},
      mainGoal: "Weight loss", timeFrame: "3 months",
      lifestyle: "Moderately active", motivationLevel: 8, stressLevel: 4,
      sleepQuality: "Good (7-8 hours)", dietaryStyle: "Vegetarian",
      foodAllergies: "peanuts", mealsPerDay: "3 (standard)",
      groceryBudget: "Medium (moderate)", cookingSkill: "Intermediate",
      cookingTime: "15-30 minutes", exerciseFrequency: "3-4 times/week",
      preferredExercise: ["Strength training", "Running"],
      trainingEnvironment: ["Gym"],
    },
  },
  { idempotencyKey: "quiz-42" },
);
console.log(nutrition.goalCalories, jobs);
