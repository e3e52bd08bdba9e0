# The next page: add &cursor= and next_cursor of this one.
curl --silent --show-error --fail-with-body \
  "https://api.example.com/v1/jobs?status=succeeded&limit=20" -H "Authorization: Bearer $TOKEN"
