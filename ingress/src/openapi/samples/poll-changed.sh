# Keeps the version of the job in a file.
curl --silent --show-error --fail-with-body \
  https://api.example.com/v1/jobs/$JOB \
  -H "Authorization: Bearer $TOKEN" --etag-save job.etag
# 304 and no body, because the job has not changed since.
curl --silent --show-error --fail-with-body \
  https://api.example.com/v1/jobs/$JOB \
  -H "Authorization: Bearer $TOKEN" --etag-compare job.etag --write-out '%{http_code}\n'
