curl --silent --show-error --fail-with-body https://api.example.com/v1/plans \
  -H "Authorization: Bearer $TOKEN" \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: quiz-42" \
  -d '{
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
    "trainingEnvironment": ["Gym"]
  }
}'
