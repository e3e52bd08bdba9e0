// Event streams: several watchers of a job read it from the first event to the last,
// lose the connection and resume.
//
// k6 has no client for server-sent events. A request here is a plain GET that
// returns when the stream ends, which it does after a job's last event. It measures
// how soon a stream opens, whether it has every event once and in order, and whether
// it ends, but not when each event arrives.

import http from 'k6/http';
import { Rate, Trend } from 'k6/metrics';

import { call, counted, expect, submit } from './lib/api.js';
import { API_URL, choose, optionsOf } from './lib/settings.js';
import { restore, slowDown } from './lib/simulator.js';
import { summaryOf } from './lib/summary.js';
import { newRun, nextUser } from './lib/users.js';

// Until the first byte: a stream starts with the time to reconnect.
const opened = new Trend('stream_opened', true);
// From the request until the stream has ended.
const lasted = new Trend('stream_lasted', true);
// Streams with every event of the job, once and in order.
const complete = new Rate('stream_complete');

const WATCHERS = 3;
const LAST = ['saved', 'failed', 'cancelled', 'expired'];
const TIMEOUT = '60s';

export const options = optionsOf(
  {
    people: {
      executor: 'constant-vus',
      exec: 'person',
      vus: choose(20, 5),
      duration: choose('20s', '3s'),
      gracefulStop: '60s',
    },
    arrivals: {
      executor: 'constant-arrival-rate',
      exec: 'person',
      rate: choose(5, 2),
      duration: choose('20s', '3s'),
      preAllocatedVUs: 20,
      maxVUs: 200,
      gracefulStop: '60s',
    },
  },
  {
    stream_opened: [`p(95)<${choose(1000, 3000)}`],
    stream_lasted: ['p(95)<30000'],
    stream_complete: ['rate>0.99'],
  },
);

export const handleSummary = summaryOf('sse-test');

export function setup() {
  slowDown(choose(1000, 300));
  return { run: newRun() };
}

export const person = counted(({ run }) => {
  const user = nextUser(run);
  const { jobs } = submit(user, { kinds: ['meal'] });
  if (jobs.length === 0) return;
  const path = `/v1/jobs/${jobs[0].id}/events`;
  const streams = http.batch(Array.from({ length: WATCHERS }, () => watch(user, path)));
  for (const stream of streams) {
    opened.add(stream.timings.waiting);
    lasted.add(stream.timings.duration);
    complete.add(isWhole(eventsOf(stream)));
  }
  resume(user, path, eventsOf(streams[0]));
});

const watch = (user, path) => ({
  method: 'GET',
  url: `${API_URL}${path}`,
  params: {
    headers: { Authorization: `Bearer ${user.token}` },
    tags: { name: 'GET /v1/jobs/{id}/events', held: 'yes' },
    timeout: TIMEOUT,
  },
});

function eventsOf(stream) {
  if (stream.status !== 200 || !stream.body) return [];
  const field = (frame, name) => (frame.match(new RegExp(`^${name}: ?(.*)$`, 'm')) || [])[1];
  const frames = stream.body.split('\n\n').filter((frame) => field(frame, 'id'));
  return frames.map((frame) => ({ id: Number(field(frame, 'id')), name: field(frame, 'event') }));
}

// 1, 2, 3 … up to an event that ends a job.
function isWhole(events) {
  const last = events[events.length - 1];
  return Boolean(last) && LAST.includes(last.name) && areNumbered(events, 1);
}

const areNumbered = (events, first) => events.every(({ id }, index) => id === first + index);

// A stream resumed after its second event continues with the third; one resumed after
// the last event is answered with no content.
function resume(user, path, events) {
  if (!isWhole(events)) return;
  const after = (id, status) =>
    call('GET', path, {
      user,
      headers: { 'Last-Event-ID': `${id}` },
      statuses: [status],
      name: 'GET /v1/jobs/{id}/events, resumed',
    });
  const stream = after(2, 200);
  if (stream.status === 200) {
    const rest = eventsOf(stream);
    const isRest = rest.length === events.length - 2 && areNumbered(rest, 3);
    expect(isRest, 'a stream taken up again lost or repeated events');
  }
  after(events.length, 204);
}

export const teardown = restore;
