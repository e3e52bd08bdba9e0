// Ten times as many users within a second, and back: requests are quickly accepted,
// or refused as documented, and accepted ones become plans.

import exec from 'k6/execution';
import { Rate, Trend } from 'k6/metrics';

import { counted, follow, hasPlan, submit } from './lib/api.js';
import { choose, optionsOf } from './lib/settings.js';
import { restore, slowDown } from './lib/simulator.js';
import { summaryOf } from './lib/summary.js';
import { newRun, nextUser } from './lib/users.js';

const planTime = new Trend('plan_time', true);
// The share of followed jobs that became a plan.
const kept = new Rate('accepted_kept');

// One in this many jobs is followed.
const FOLLOWED = 10;
const PATIENCE_SECONDS = choose(300, 45);
// All plans of an iteration are followed within the patience; k6 counts nothing of an
// iteration that it interrupts.
const GRACE_SECONDS = PATIENCE_SECONDS + 30;

const [USUAL, SPIKE] = choose([5, 50], [3, 20]);

export const options = optionsOf(
  {
    arrivals: {
      executor: 'ramping-arrival-rate',
      startRate: USUAL,
      stages: [
        { duration: choose('10s', '1s'), target: USUAL },
        { duration: '1s', target: SPIKE },
        { duration: choose('15s', '2s'), target: SPIKE },
        { duration: '1s', target: USUAL },
        { duration: choose('15s', '1s'), target: USUAL },
      ],
      preAllocatedVUs: choose(400, 150),
      maxVUs: 1000,
      gracefulStop: `${GRACE_SECONDS}s`,
    },
  },
  {
    'http_req_duration{name:POST /v1/plans}': ['p(95)<2000'],
    refused: ['rate<0.5'],
    plan_time: [`p(95)<${choose(150, 40) * 1000}`],
    accepted_kept: ['rate==1'],
  },
);

export const handleSummary = summaryOf('spike-test');

export function setup() {
  slowDown(choose(500, 100));
  return { run: newRun() };
}

export default counted(({ run }) => {
  const user = nextUser(run);
  const began = Date.now();
  const { jobs } = submit(user, {});
  if (jobs.length === 0 || exec.scenario.iterationInTest % FOLLOWED !== 0) return;
  for (const { id } of jobs) {
    const left = PATIENCE_SECONDS - (Date.now() - began) / 1000;
    const isDone = hasPlan(follow(user, id, Math.max(left, 1)));
    kept.add(isDone);
    if (isDone) planTime.add(Date.now() - began);
  }
});

export const teardown = restore;
