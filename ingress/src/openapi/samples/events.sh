# Ends after the job's last event.
curl --silent --show-error --fail-with-body --no-buffer \
  https://api.example.com/v1/jobs/$JOB/events \
  -H "Authorization: Bearer $TOKEN" -H "Accept: text/event-stream"
