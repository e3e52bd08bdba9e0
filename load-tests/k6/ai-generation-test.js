// From the quiz to the plan: ten users who repeatedly request both plans and wait
// for them, and in addition new users at a fixed rate.

import exec from 'k6/execution';
import { Rate, Trend } from 'k6/metrics';

import { counted, follow, hasPlan, submit } from './lib/api.js';
import { choose, optionsOf } from './lib/settings.js';
import { restore, slowDown } from './lib/simulator.js';
import { summaryOf } from './lib/summary.js';
import { newRun, nextUser } from './lib/users.js';

// From before the request until the plan has been received.
const planTime = new Trend('plan_time', true);
const failures = new Rate('generation_failures');

// The latency of a call to a simulated provider.
const PROVIDER_MILLISECONDS = choose(2000, 300);
// The longest wait for a plan; a longer one counts as failed.
const PATIENCE_SECONDS = choose(120, 20);

export const options = optionsOf(
  {
    people: {
      executor: 'per-vu-iterations',
      exec: 'person',
      vus: 10,
      iterations: choose(8, 2),
      maxDuration: choose('5m', '40s'),
    },
    arrivals: {
      executor: 'constant-arrival-rate',
      exec: 'person',
      rate: choose(5, 2),
      duration: choose('20s', '2s'),
      preAllocatedVUs: 30,
      maxVUs: 200,
      gracefulStop: `${PATIENCE_SECONDS}s`,
    },
  },
  {
    plan_time: ['p(95)<60000'],
    generation_failures: ['rate<0.1'],
  },
);

export const handleSummary = summaryOf('ai-generation-test');

export function setup() {
  slowDown(PROVIDER_MILLISECONDS);
  return { run: newRun() };
}

export const person = counted(({ run }) => {
  const user = nextUser(run);
  const began = Date.now();
  const { jobs } = submit(user, { kinds: kindsOf(exec.scenario.name) });
  if (jobs.length === 0) failures.add(true);
  for (const { id } of jobs) {
    const isDone = hasPlan(follow(user, id, PATIENCE_SECONDS));
    failures.add(!isDone);
    if (isDone) planTime.add(Date.now() - began);
  }
});

const kindsOf = (scenario) => (scenario === 'people' ? ['meal', 'workout'] : ['meal']);

export const teardown = restore;
