// Many users, because limits count by user: one user's load would measure refusals.

import crypto from 'k6/crypto';
import { SharedArray } from 'k6/data';
import encoding from 'k6/encoding';
import exec from 'k6/execution';

const TOKEN_LIFE_SECONDS = 3600;

// Tokens from elsewhere, for use without the secret: the lines that
// `cargo xtask token --random N` prints, with a user and a token each.
const GIVEN = new SharedArray('tokens', () => {
  if (!__ENV.TOKENS_FILE) return [];
  const lines = open(__ENV.TOKENS_FILE).split('\n').filter((line) => line.trim() !== '');
  return lines.map((line, index) => {
    const [id, token] = line.trim().split(/\s+/);
    if (!token) throw new Error(`TOKENS_FILE, line ${index + 1}: expected "USER TOKEN"`);
    return { id, token };
  });
});

if (GIVEN.length === 0 && !__ENV.JWT_SECRET) {
  throw new Error('set JWT_SECRET to sign tokens with, or TOKENS_FILE to take them from');
}

// A unique name of this run, drawn in setup and passed to all virtual users.
export function newRun() {
  const bytes = new Uint8Array(crypto.randomBytes(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// A user for the current iteration: a new one, or the next given one.
export function nextUser(run) {
  const { name, iterationInTest } = exec.scenario;
  return numbered(run, name, iterationInTest);
}

// User `number` of a group, always the same one.
export function numbered(run, group, number) {
  if (GIVEN.length > 0) return { ...GIVEN[number % GIVEN.length], number, isNew: false, left: null };
  const id = uuid(crypto.sha256(`${run}/${group}/${number}`, 'hex'));
  return { id, token: tokenOf(id), number, isNew: true, left: null };
}

function uuid(hex) {
  const part = (from, to) => hex.slice(from, to);
  return `${part(0, 8)}-${part(8, 12)}-4${part(13, 16)}-8${part(17, 20)}-${part(20, 32)}`;
}

// Claims as Supabase Auth names them, signed with HS256.
function tokenOf(id) {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    sub: id,
    aud: __ENV.JWT_AUDIENCE || 'authenticated',
    role: 'authenticated',
    iat: now,
    exp: now + TOKEN_LIFE_SECONDS,
    email: `load-${id}@example.test`,
    is_anonymous: false,
    app_metadata: { provider: 'email' },
  };
  if (__ENV.JWT_ISSUER) claims.iss = __ENV.JWT_ISSUER;
  const encode = (part) => encoding.b64encode(JSON.stringify(part), 'rawurl');
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${crypto.hmac('sha256', __ENV.JWT_SECRET, signed, 'base64rawurl')}`;
}
