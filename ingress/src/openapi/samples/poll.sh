# Each request is answered at the job's next change, or after 30 seconds.
while job=$(curl --silent --show-error --fail-with-body \
  https://api.example.com/v1/jobs/$JOB \
  -H "Authorization: Bearer $TOKEN" -H "Prefer: wait=30"); do
  echo "$job"
  grep -qE '"status":"(queued|running)"' <<<"$job" || break
done
