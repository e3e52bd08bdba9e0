curl --silent --show-error --fail-with-body --request DELETE \
  https://api.example.com/v1/jobs/$JOB -H "Authorization: Bearer $TOKEN"
