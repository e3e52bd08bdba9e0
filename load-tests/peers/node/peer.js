// What server and worker share: the settings, the stores and the name of the queue.

import { renameSync, writeFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import pg from 'pg';

export const QUEUE = 'plans';

export const settings = {
  addressFile: process.env.ADDRESS_FILE,
  // Checks a token and a limit per user when it is set.
  jwtSecret: process.env.JWT_SECRET,
  // Calls no provider when it is not set.
  providerUrl: process.env.PROVIDER_URL,
  slots: Number(process.env.SLOTS ?? 1000),
};

export const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16 });

// BullMQ requires the setting: a command waits for as long as Redis is away.
export const connect = () => new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });

// Tells the one who started this process that it is ready.
export function ready(lines) {
  const draft = `${settings.addressFile}.draft`;
  writeFileSync(draft, lines.join('\n') + '\n');
  renameSync(draft, settings.addressFile);
}
