import os

import httpx

client = httpx.Client(
    base_url="https://api.example.com",
    headers={"authorization": f"Bearer {os.environ['TOKEN']}"},
)

response = client.post(
    "/v1/plans",
    headers={"idempotency-key": "quiz-42"},
    json={
        "kinds": ["meal", "workout"],
        "answers": {
            "age": 34, "gender": "female", "height": {"cm": "168"},
            "currentWeight": {"kg": "71.5"}, "targetWeight": {"kg": "65"},
            "mainGoal": "Weight loss", "timeFrame": "3 months",
            "lifestyle": "Moderately active", "motivationLevel": 8, "stressLevel": 4,
            "sleepQuality": "Good (7-8 hours)", "dietaryStyle": "Vegetarian",
            "foodAllergies": "peanuts", "mealsPerDay": "3 (standard)",
            "groceryBudget": "Medium (moderate)", "cookingSkill": "Intermediate",
            "cookingTime": "15-30 minutes", "exerciseFrequency": "3-4 times/week",
            "preferredExercise": ["Strength training", "Running"],
            "trainingEnvironment": ["Gym"],
        },
    },
)
response.raise_for_status()
accepted = response.json()
print(accepted["nutrition"]["goalCalories"], accepted["jobs"])
