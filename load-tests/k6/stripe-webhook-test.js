// Stripe's deliveries: a steady rate with bursts, like at monthly billing. Some are
// delivered twice, some are forged, some are old. At the end every user with a valid
// event must be a paying user.

import { sleep } from 'k6';
import crypto from 'k6/crypto';
import exec from 'k6/execution';
import { Rate } from 'k6/metrics';

import { call, counted, submit } from './lib/api.js';
import { choose, optionsOf, required } from './lib/settings.js';
import { summaryOf } from './lib/summary.js';
import { newRun, numbered } from './lib/users.js';

const SECRET = required('STRIPE_WEBHOOK_SECRET', 'it signs the deliveries');
const PATH = '/api/stripe/webhook';
const CUSTOMERS = choose(20, 5);
const MONTH_SECONDS = 30 * 86400;
const STALE_SECONDS = 3600;

// The share of customers with a paid plan at the end.
const upgraded = new Rate('upgraded');

const BURST = [
  { duration: '1s', target: choose(300, 100) },
  { duration: choose('4s', '1s'), target: choose(300, 100) },
  { duration: '1s', target: 0 },
];
const PAUSE = { duration: choose('4s', '1s'), target: 0 };

export const options = optionsOf(
  {
    steady: {
      executor: 'constant-arrival-rate',
      exec: 'deliver',
      rate: choose(50, 20),
      duration: choose('20s', '4s'),
      preAllocatedVUs: 20,
      maxVUs: 200,
    },
    bursts: {
      executor: 'ramping-arrival-rate',
      exec: 'deliver',
      startRate: 0,
      stages: choose([...BURST, PAUSE, ...BURST], BURST),
      preAllocatedVUs: choose(300, 100),
      maxVUs: 400,
    },
  },
  {
    'http_req_duration{name:a delivery}': choose(['p(95)<500', 'p(99)<1000'], ['p(95)<2000']),
    upgraded: ['rate==1'],
  },
);

export const handleSummary = summaryOf('stripe-webhook-test');

// An accepted request gives each customer's user a profile.
export function setup() {
  const run = newRun();
  const users = Array.from({ length: CUSTOMERS }, (_, number) => {
    const user = numbered(run, 'customers', number);
    submit(user, { kinds: ['meal'] });
    return { user, allowed: allowedTo(user) };
  });
  return { run, users };
}

// The monthly generations of the user's plan.
const allowedTo = (user) => call('GET', '/v1/usage', { user }).json('generations.allowed');

export const deliver = counted(({ run, users }) => {
  const { name, iterationInTest: number } = exec.scenario;
  const body = JSON.stringify(eventOf(`${run}_${name}`, number, run, users));
  const now = Math.floor(Date.now() / 1000);
  post(body, signature(SECRET, now, body), 200);
  if (number % 10 === 1) post(body, signature(SECRET, now, body), 200);
  if (number % 20 === 2) post(body, signature('whsec_not_the_secret', now, body), 400);
  if (number % 20 === 3) post(body, signature(SECRET, now - STALE_SECONDS, body), 400);
});

function post(body, signed, status) {
  call('POST', PATH, {
    body,
    headers: { 'Stripe-Signature': signed },
    statuses: [status],
    name: status === 200 ? 'a delivery' : 'a bad delivery',
  });
}

const signature = (secret, at, body) =>
  `t=${at},v1=${crypto.hmac('sha256', secret, `${at}.${body}`, 'hex')}`;

// Event `number` of a series, of one user's subscription.
function eventOf(series, number, run, users) {
  const customer = number % users.length;
  const now = Math.floor(Date.now() / 1000);
  return {
    id: `evt_${series}_${number}`,
    object: 'event',
    type: 'customer.subscription.updated',
    created: now,
    api_version: '2026-10-28.endive',
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    data: { object: subscription(`${run}_${customer}`, users[customer].user.id, now) },
  };
}

function subscription(id, user, now) {
  return {
    id: `sub_${id}`,
    object: 'subscription',
    customer: `cus_${id}`,
    status: 'active',
    created: now - 60,
    cancel_at_period_end: false,
    cancel_at: null,
    trial_end: null,
    currency: 'eur',
    items: {
      object: 'list',
      has_more: false,
      data: [
        {
          id: `si_${id}`,
          object: 'subscription_item',
          current_period_end: now + MONTH_SECONDS,
          quantity: 1,
          price: { id: __ENV.STRIPE_PRICE || 'price_pro', object: 'price', product: 'prod_pro' },
        },
      ],
    },
    latest_invoice: `in_${id}`,
    metadata: { user_id: user },
  };
}

export function teardown({ users }) {
  const deadline = Date.now() + 60000;
  for (const { user, allowed } of users) {
    while (allowedTo(user) <= allowed && Date.now() < deadline) sleep(0.2);
    upgraded.add(allowedTo(user) > allowed);
  }
}
