// Everyday use of the API by a growing number of users: 10, 50, then 100 at once,
// who sign in, request plans, read them and pause in between, and in addition
// requests at a fixed rate, independent of the speed of answers.

import { sleep } from 'k6';

import { call, counted, expect, look, submit } from './lib/api.js';
import { choose, optionsOf } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';
import { newRun, nextUser } from './lib/users.js';

export const options = optionsOf(
  {
    people: {
      executor: 'ramping-vus',
      exec: 'person',
      startVUs: 1,
      stages: choose(
        [
          { duration: '10s', target: 10 },
          { duration: '20s', target: 10 },
          { duration: '10s', target: 50 },
          { duration: '30s', target: 50 },
          { duration: '10s', target: 100 },
          { duration: '40s', target: 100 },
          { duration: '5s', target: 0 },
        ],
        [
          { duration: '1s', target: 5 },
          { duration: '3s', target: 10 },
        ],
      ),
      gracefulRampDown: '10s',
      gracefulStop: '10s',
    },
    visitors: {
      executor: 'constant-arrival-rate',
      exec: 'visitor',
      rate: choose(20, 10),
      duration: choose('120s', '4s'),
      preAllocatedVUs: 20,
      maxVUs: 100,
    },
  },
  {
    http_req_duration: ['p(95)<2000'],
    errors: ['rate<0.05'],
    'http_req_duration{name:POST /v1/plans}': ['p(95)<2000'],
    refused: ['rate<0.1'],
  },
);

export const handleSummary = summaryOf('api-test');

export function setup() {
  return { run: newRun() };
}

const THINK_SECONDS = choose(1, 0.3);
const LOOKS = 3;
// One in this many users exceeds the rate limit.
const GREEDY = 20;

export const person = counted(({ run }) => {
  const user = nextUser(run);
  call('GET', '/v1/usage', { user });
  const job = ask(user, run);
  if (!job) return;
  let tag;
  for (let looks = 0; looks < LOOKS; looks += 1) {
    sleep(THINK_SECONDS);
    tag = look(user, job, { tag }).headers.Etag || tag;
  }
  const page = call('GET', '/v1/jobs?limit=10', { user });
  if (page.status === 200) {
    const ids = page.json('jobs').map(({ id }) => id);
    expect(ids.includes(job), 'a job is missing in the list of its owner');
  }
  // 404 until the plan is written.
  call('GET', '/v1/plans/meal/active', { user, statuses: [200, 404] });
  if (user.isNew && user.number % GREEDY === 0) beGreedy(user);
  sleep(THINK_SECONDS);
});

// Requests plans twice with one key, like after a lost answer. Returns a job's id.
function ask(user, run) {
  const headers = { 'Idempotency-Key': `${run}-${user.id}-${user.number}` };
  const { response, jobs } = submit(user, { headers });
  if (jobs.length === 0) return null;
  expect(jobs.length === 2, 'two plans asked for, not two jobs accepted');
  const again = submit(user, { headers }).response;
  if (again.status === 202) {
    expect(again.headers['Idempotency-Replayed'] === 'true', 'a repeated request ran anew');
    expect(again.body === response.body, 'a repeated request got another answer');
  }
  return jobs[0].id;
}

// Submits until the rate limit refuses, then cancels the jobs. An ingress whose Redis
// is slow applies limits of its own that start at zero, so twice as many as the limit
// may be accepted.
function beGreedy(user) {
  const jobs = [];
  const most = 2 * (user.left + 1);
  let answer;
  for (let tries = 0; tries < most && jobs.length === tries; tries += 1) {
    answer = submit(user, { kinds: ['meal'], statuses: [202, 429] });
    jobs.push(...answer.jobs);
  }
  if ([202, 429].includes(answer.response.status)) {
    expect(isByRate(answer.response), 'more requests were accepted than the rate limit allows');
  }
  for (const { id } of jobs) {
    // 409 if it has ended already.
    call('DELETE', `/v1/jobs/${id}`, { user, statuses: [202, 409], name: 'DELETE /v1/jobs/{id}' });
  }
}

// Whether an answer is a refusal of the rate limit, not of the monthly quota.
function isByRate(response) {
  if (response.status !== 429 || !response.headers['Retry-After']) return false;
  return !response.json('violated-policies').includes('monthly-generations');
}

export const visitor = counted(({ run }) => {
  call('GET', '/health', {});
  const user = nextUser(run);
  const usage = call('GET', '/v1/usage', { user });
  if (usage.status === 200 && user.isNew) {
    expect(usage.json('generations.left') > 0, 'a new user has no generations left');
  }
  // Missing objects and those of other users give the same answer.
  const id = user.id;
  call('GET', `/v1/jobs/${id}`, { user, statuses: [404], name: 'GET /v1/jobs/{unknown}' });
});
