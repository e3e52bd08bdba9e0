curl --silent --show-error --fail-with-body \
  https://api.example.com/plan-status/$USER_ID -H "Authorization: Bearer $TOKEN"
