// The same moderate load for a long time: nothing may accumulate. The processes'
// memory and file descriptors are read once a second, and must not grow after the
// first third.

import http from 'k6/http';
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Gauge, Rate } from 'k6/metrics';

import { call, counted, follow, hasPlan, look, submit } from './lib/api.js';
import { choose, optionsOf } from './lib/settings.js';
import { restore, slowDown } from './lib/simulator.js';
import { summaryOf } from './lib/summary.js';
import { newRun, nextUser } from './lib/users.js';

const MINUTES = Number(__ENV.SOAK_MINUTES || 30);
if (!(MINUTES > 0)) throw new Error(`SOAK_MINUTES is "${__ENV.SOAK_MINUTES}": expected a number`);
const SECONDS = choose(Math.ceil(60 * MINUTES), 9);
// Where process_resident_memory_bytes and process_open_fds are served, comma-separated.
const METRICS_URLS = (__ENV.METRICS_URLS || '').split(',').filter((url) => url !== '');
const MIB = 1024 * 1024;

// The largest growth of a process since the end of the first third.
const memoryGrowth = new Gauge('memory_growth_mib');
const descriptorGrowth = new Gauge('descriptor_growth');
// The share of readings with both numbers.
const readings = new Rate('processes_read');
const kept = new Rate('accepted_kept');

const people = {
  executor: 'constant-arrival-rate',
  exec: 'person',
  rate: choose(5, 3),
  duration: `${SECONDS}s`,
  preAllocatedVUs: 30,
  maxVUs: 200,
  gracefulStop: '30s',
};
// One virtual user, because readings are kept in its memory.
const processes = { executor: 'constant-vus', exec: 'read', vus: 1, duration: `${SECONDS}s` };

const flat = {
  memory_growth_mib: [`value<${choose(16, 32)}`],
  descriptor_growth: ['value<50'],
  processes_read: ['rate==1'],
};

export const options = optionsOf(
  METRICS_URLS.length > 0 ? { people, processes } : { people },
  {
    'http_req_duration{held:no}': [`p(95)<${choose(1000, 2000)}`],
    accepted_kept: ['rate>0.99'],
    ...(METRICS_URLS.length > 0 ? flat : {}),
  },
);

export const handleSummary = summaryOf('soak-test');

export function setup() {
  if (METRICS_URLS.length === 0) {
    console.warn('METRICS_URLS is not set: memory and descriptors are NOT judged');
  }
  slowDown(300);
  return { run: newRun() };
}

export const person = counted(({ run }) => {
  const user = nextUser(run);
  const { jobs } = submit(user, {});
  for (const { id } of jobs) {
    look(user, id);
    kept.add(hasPlan(follow(user, id, 30)));
    call('GET', `/v1/jobs/${id}/events`, { user, name: 'GET /v1/jobs/{id}/events' });
  }
  call('GET', '/v1/jobs?limit=10', { user });
});

// Readings of each process, oldest first.
const history = {};

export const read = counted(() => {
  for (const url of METRICS_URLS) {
    const answer = http.get(url, { tags: { name: 'process metrics', held: 'yes' } });
    const values = processesOf(url, answer.body || '');
    readings.add(values.length > 0);
    for (const { process, memory, descriptors } of values) {
      history[process] = [...(history[process] || []), { memory, descriptors }];
    }
  }
  report(exec.scenario.progress);
  sleep(1);
});

// The processes of a page in Prometheus' text format.
function processesOf(url, text) {
  const all = (metric) => {
    const lines = text.matchAll(new RegExp(`^${metric}(\\{[^}]*\\})? ([0-9.e+]+)$`, 'gm'));
    return new Map([...lines].map(([, labels, value]) => [labels || '', Number(value)]));
  };
  const [memory, descriptors] = [all('process_resident_memory_bytes'), all('process_open_fds')];
  const both = [...memory.keys()].filter((labels) => descriptors.has(labels));
  return both.map((labels) => ({
    process: url + labels,
    memory: memory.get(labels),
    descriptors: descriptors.get(labels),
  }));
}

// The growth since the end of the first third.
let settled = null;

function report(progress) {
  const names = Object.keys(history);
  if (progress < 1 / 3 || names.length === 0) return;
  settled = settled || Object.fromEntries(names.map((name) => [name, recent(history[name])]));
  const growth = (field) =>
    Math.max(...names.map((name) => recent(history[name])[field] - settled[name][field]));
  memoryGrowth.add(growth('memory') / MIB);
  descriptorGrowth.add(growth('descriptors'));
}

// The medians of the last readings, because single ones vary with the running requests.
function recent(all) {
  const last = all.slice(-Math.max(3, Math.floor(all.length / 5)));
  const median = (field) =>
    last.map((reading) => reading[field]).sort((a, b) => a - b)[Math.floor(last.length / 2)];
  return { memory: median('memory'), descriptors: median('descriptors') };
}

export const teardown = restore;
