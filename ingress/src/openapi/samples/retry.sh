# TOKEN: an operator's.
curl --silent --show-error --fail-with-body --request POST \
  https://api.example.com/admin/jobs/$JOB/retry -H "Authorization: Bearer $TOKEN"
