curl --silent --show-error --fail-with-body https://api.example.com/v1/usage -H "Authorization: Bearer $TOKEN"
