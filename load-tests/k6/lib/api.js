// Requests to the API, and the classification of each answer.
//
// An answer is an expected one, a documented refusal, or an error. Documented are 429
// with Retry-After after an answer that said that nothing is left, and 503 with
// Retry-After and the code `temporary-reduced-capacity`.

import http from 'k6/http';
import { Counter, Rate } from 'k6/metrics';

import { answers } from './quiz.js';
import { API_URL } from './settings.js';

// The share of errors.
const errors = new Rate('errors');
// The share of documented refusals.
const refused = new Rate('refused');
// Answers with the right status and wrong content.
const wrong = new Counter('wrong_answers');

const ENDED = ['succeeded', 'failed', 'cancelled', 'expired'];
// The time limit of an answer, longer than that of a long poll.
const TIMEOUT = '75s';
// Errors that each virtual user logs; the metrics count all.
const EXPLAINED = 1;
let explained = 0;

// Sends a request, as `user` if there is one. `statuses` are the expected ones.
export function call(method, path, { user, body, headers, statuses = [200], name, tags }) {
  const label = name || `${method} ${path}`;
  const sent = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const response = http.request(method, `${API_URL}${path}`, sent, {
    headers: {
      ...(user ? { Authorization: `Bearer ${user.token}` } : {}),
      ...(sent === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    tags: { name: label, held: 'no', ...tags },
    responseCallback: http.expectedStatuses(...statuses, 429),
    timeout: TIMEOUT,
  });
  judge(response, user, statuses, label);
  return response;
}

function judge(response, user, statuses, label) {
  const isExpected = statuses.includes(response.status);
  const isRefusal = !isExpected && isPromised(response, user);
  errors.add(!isExpected && !isRefusal);
  refused.add(isRefusal);
  if (user) user.left = leftOf(response) ?? user.left;
  if (!isExpected && !isRefusal) {
    explain(`${label}: ${response.status || response.error} ${problemOf(response).code || ''}`);
  }
}

function isPromised(response, user) {
  if (!response.headers['Retry-After']) return false;
  const { code } = problemOf(response);
  if (response.status === 503) return code === 'temporary-reduced-capacity';
  if (response.status !== 429 || code !== 'quota-exceeded' || !user) return false;
  // The earlier use of given users is unknown.
  return !user.isNew || user.left === 0;
}

// The rest of the scarcest limit in the header RateLimit; null without one.
function leftOf(response) {
  const told = [...(response.headers.Ratelimit || '').matchAll(/;r=(\d+)/g)];
  return told.length === 0 ? null : Math.min(...told.map((match) => Number(match[1])));
}

// The problem document of a refusal. The body itself is never logged.
function problemOf(response) {
  try {
    return response.json() || {};
  } catch (_) {
    return {};
  }
}

function explain(text) {
  explained += 1;
  if (explained <= EXPLAINED) console.error(text);
}

// Checks the content of an answer.
export function expect(isRight, complaint) {
  wrong.add(isRight ? 0 : 1);
  if (!isRight) explain(complaint);
}

// A scenario function that counts exceptions as errors.
export function counted(iteration) {
  return (data) => {
    try {
      return iteration(data);
    } catch (error) {
      errors.add(true);
      return explain(`an iteration broke off: ${error}`);
    }
  };
}

// Requests plans. Returns the jobs, none if the API refuses.
export function submit(user, { kinds = ['meal', 'workout'], headers, statuses = [202] }) {
  const body = { kinds, answers: answers(user.number) };
  const held = headers && headers.Prefer ? { held: 'yes' } : {};
  const response = call('POST', '/v1/plans', { user, body, headers, statuses, tags: held });
  const isAnswered = [200, 202].includes(response.status);
  return { response, jobs: isAnswered ? response.json('jobs') : [] };
}

// Reads a job; with `tag`, 304 if it has not changed since.
export function look(user, id, { tag, wait } = {}) {
  const headers = {};
  if (tag) headers['If-None-Match'] = tag;
  if (wait) headers.Prefer = `wait=${wait}`;
  return call('GET', `/v1/jobs/${id}`, {
    user,
    headers,
    statuses: tag ? [200, 304] : [200],
    name: 'GET /v1/jobs/{id}',
    tags: { held: wait ? 'yes' : 'no' },
  });
}

// Long-polls a job until it has ended, at most for this many seconds. Returns the job
// as last seen, or null.
export function follow(user, id, seconds) {
  const deadline = Date.now() + seconds * 1000;
  let job = null;
  let tag;
  while (Date.now() < deadline) {
    const wait = Math.max(1, Math.min(20, Math.ceil((deadline - Date.now()) / 1000)));
    const response = look(user, id, { tag, wait });
    if (response.status === 200) {
      job = response.json();
      tag = response.headers.Etag;
      if (ENDED.includes(job.status)) return job;
    } else if (response.status !== 304) {
      return job;
    }
  }
  return job;
}

// Whether a job ended with a plan.
export const hasPlan = (job) => job !== null && job.status === 'succeeded' && Boolean(job.plan);
