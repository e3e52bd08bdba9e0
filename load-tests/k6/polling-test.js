// Apps that wait for a plan, which are most of an ingress's requests. Polls with the
// latest version get 304; long polls get each change when it happens.

import { Rate } from 'k6/metrics';

import { counted, expect, hasPlan, look, submit } from './lib/api.js';
import { choose, optionsOf } from './lib/settings.js';
import { restore, slowDown } from './lib/simulator.js';
import { summaryOf } from './lib/summary.js';
import { newRun, nextUser, numbered } from './lib/users.js';

// The share of answers without a body among reads of a finished job with a known version.
const notModified = new Rate('not_modified');

const JOBS = choose(20, 4);
const DURATION = choose('20s', '3s');
const HOLD_SECONDS = 10;

export const options = optionsOf(
  {
    pollers: {
      executor: 'constant-vus',
      exec: 'poll',
      vus: choose(20, 5),
      duration: DURATION,
    },
    arrivals: {
      executor: 'constant-arrival-rate',
      exec: 'poll',
      rate: choose(200, 50),
      duration: DURATION,
      preAllocatedVUs: choose(100, 20),
      maxVUs: 200,
    },
    holders: {
      executor: 'constant-vus',
      exec: 'hold',
      vus: choose(10, 3),
      duration: DURATION,
      gracefulStop: '20s',
    },
  },
  {
    'http_req_duration{held:no}': [`p(95)<${choose(500, 2000)}`],
    not_modified: ['rate>0.99'],
  },
);

export const handleSummary = summaryOf('polling-test');

export function setup() {
  const run = newRun();
  const jobs = [];
  for (let number = 0; number < JOBS; number += 1) {
    const user = numbered(run, 'pollers', number);
    const headers = { Prefer: 'wait=60' };
    const finished = submit(user, { kinds: ['meal'], headers, statuses: [200] }).jobs[0];
    if (!finished || !hasPlan(finished)) throw new Error('no plan to look at within a minute');
    jobs.push({ user, id: finished.id });
  }
  slowDown(choose(500, 200));
  return { run, jobs };
}

// The versions this virtual user has seen, by job.
const known = {};

export const poll = counted(({ jobs }) => {
  const { user, id } = jobs[Math.floor(Math.random() * jobs.length)];
  const tag = known[id];
  const response = look(user, id, { tag });
  if (tag) {
    const isSame = response.status === 304 && response.headers.Etag === tag && !response.body;
    notModified.add(isSame);
  } else if (response.status === 200) {
    expect(Boolean(response.headers.Etag), 'a job without an ETag');
    known[id] = response.headers.Etag;
  }
});

// Long-polls until the job has ended: each answer is a change, or 304 when the time
// is up.
export const hold = counted(({ run }) => {
  const user = nextUser(run);
  const { jobs } = submit(user, { kinds: ['workout'] });
  if (jobs.length === 0) return;
  const seen = new Set();
  let tag;
  for (let answers = 0; answers < 20; answers += 1) {
    const response = look(user, jobs[0].id, { tag, wait: HOLD_SECONDS });
    if (response.status === 304) continue;
    if (response.status !== 200) return;
    tag = response.headers.Etag;
    expect(!seen.has(tag), 'a held request brought the same version twice');
    seen.add(tag);
    if (response.json('finished_at')) return;
  }
  expect(false, 'a job had not ended after 20 held requests');
});

export const teardown = restore;
