curl --silent --show-error --fail-with-body \
  https://api.example.com/v1/plans/meal/active -H "Authorization: Bearer $TOKEN"
