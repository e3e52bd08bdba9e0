/**
 * A client for Regimen's API, for browsers and Node 20 or newer: submit a quiz, follow
 * its jobs, read the plans. It needs only `fetch`.
 */
import type { components } from "./api.js";
import { frames } from "./sse.js";

export type { components, paths } from "./api.js";

type Schemas = components["schemas"];
/** The body of `POST /v1/plans`. */
export type PlanRequest = Schemas["CreatePlans"];
/** The response to it. */
export type PlansAccepted = Schemas["PlansAccepted"];
/** A job as its owner sees it. */
export type Job = Schemas["JobView"];
/** The user's active plan of a kind. */
export type ActivePlan = Schemas["ActivePlanView"];
/** `meal` or `workout`. */
export type PlanKind = Schemas["PlanKind"];
/** The body of every error (RFC 9457). */
export type Problem = Schemas["Problem"];

/** One event of a job. Numbers are 1, 2, 3 … without gaps. */
export interface JobEvent {
  seq: number;
  /** RFC 3339. */
  at: string;
  /** Such as `accepted`, `attempt_started`; the last is one of `LAST_EVENTS`. */
  kind: string;
  /** Further fields of the kind. */
  data: Record<string, unknown>;
}

/** The kinds of a job's last event; `saved` means success. */
export const LAST_EVENTS: ReadonlySet<string> = new Set(["saved", "failed", "cancelled", "expired"]);

export interface ClientOptions {
  /** The API's URL, such as `https://api.example.com`. */
  baseUrl: string;
  /**
   * Returns the user's access token; called before every request. `expired` is true after
   * the API has refused the last token, which must then be renewed.
   */
  token: (asked: { expired: boolean }) => string | undefined | Promise<string | undefined>;
  /** The highest number of attempts of an idempotent request. Default 5. */
  attempts?: number;
  /** The longest wait before a retry, in seconds; a longer Retry-After fails. Default 60. */
  maxWaitSeconds?: number;
  /** Default: the global `fetch`. */
  fetch?: typeof fetch;
}

export interface CallOptions {
  signal?: AbortSignal;
}

export interface SubmitOptions extends CallOptions {
  /** Makes retries of the same quiz safe, also from another page. Default: a new one. */
  idempotencyKey?: string;
}

export interface WatchOptions extends CallOptions {
  /** Called for each event, once and in order. */
  onEvent?: (event: JobEvent, jobId: string) => void;
}

export interface SubmitAndWatchOptions extends SubmitOptions, WatchOptions {
  /** Called when the request is accepted, with targets, warnings and job ids. */
  onAccepted?: (accepted: PlansAccepted) => void;
}

/** The API refused a request. */
export class ProblemError extends Error {
  override name = "ProblemError";
  constructor(
    /** The problem document. `problem.code` is for programs, `problem.errors` names fields. */
    readonly problem: Problem,
    /** The seconds after which the same request may be sent again. */
    readonly retryAfterSeconds?: number,
  ) {
    super(problem.detail);
  }

  /** The HTTP status. */
  get status(): number {
    return this.problem.status;
  }

  /** The error of a field of the quiz, such as `age`. */
  field(name: string): string | undefined {
    return this.problem.errors?.find((error) => error.pointer === `/answers/${name}`)?.message;
  }
}

/** No response after all attempts. */
export class ConnectionError extends Error {
  override name = "ConnectionError";
}

const FIRST_WAIT_SECONDS = 0.5;
const LONGEST_OWN_WAIT_SECONDS = 8;
/** Heartbeats come every 15 s; a connection that is silent for longer is dead. */
const SILENCE_MS = 50_000;
const REPEATABLE = new Set([408, 429, 502, 503, 504]);

interface Call extends CallOptions {
  method: "GET" | "POST" | "DELETE";
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
  /** Whether the request is idempotent. */
  repeatable: boolean;
}

export class RegimenClient {
  readonly #base: string;
  readonly #options: ClientOptions;
  readonly #fetch: typeof fetch;

  constructor(options: ClientOptions) {
    this.#base = options.baseUrl.replace(/\/+$/, "");
    this.#options = options;
    const own = options.fetch;
    this.#fetch = own ?? ((input, init) => fetch(input, init));
  }

  /** Requests plans. Retried safely if the connection breaks. */
  submit(body: PlanRequest, options: SubmitOptions = {}): Promise<PlansAccepted> {
    return this.#json({
      method: "POST",
      path: "/v1/plans",
      body,
      headers: { "idempotency-key": options.idempotencyKey ?? crypto.randomUUID() },
      repeatable: true,
      ...only(options),
    });
  }

  /** A job. `waitSeconds`: waits for the job's next change, for up to 60. */
  job(id: string, options: CallOptions & { waitSeconds?: number } = {}): Promise<Job> {
    const wait = options.waitSeconds;
    return this.#json({
      method: "GET",
      path: `/v1/jobs/${encodeURIComponent(id)}`,
      ...(wait === undefined ? {} : { headers: { prefer: `wait=${wait}` } }),
      repeatable: true,
      ...only(options),
    });
  }

  /** The user's active plan of a kind; undefined when there is none. */
  async activePlan(kind: PlanKind, options: CallOptions = {}): Promise<ActivePlan | undefined> {
    try {
      const path = `/v1/plans/${kind}/active`;
      return await this.#json<ActivePlan>({ method: "GET", path, repeatable: true, ...only(options) });
    } catch (error) {
      if (error instanceof ProblemError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Cancels a job; one that has ended stays as it is. */
  cancel(id: string, options: CallOptions = {}): Promise<Job> {
    const path = `/v1/jobs/${encodeURIComponent(id)}`;
    return this.#json({ method: "DELETE", path, repeatable: true, ...only(options) });
  }

  /** Any other route, such as `request("GET", "/v1/usage")`. */
  request<T>(method: Call["method"], path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    return this.#json({ method, path, body, repeatable: method === "GET", ...only(options) });
  }

  /**
   * A job's events after number `after`, until its last. A broken stream is resumed at
   * the last event received, so that none is missed or repeated.
   */
  async *events(id: string, options: CallOptions & { after?: number } = {}): AsyncGenerator<JobEvent, void> {
    let seen = options.after ?? 0;
    let waitMs = 1_000;
    let failures = 0;
    for (;;) {
      const before = seen;
      const cut = new AbortController();
      const outer = options.signal;
      const signal = outer ? AbortSignal.any([outer, cut.signal]) : cut.signal;
      const resume = seen > 0 ? { "last-event-id": `${seen}` } : {};
      const call: Call = {
        method: "GET",
        path: `/v1/jobs/${encodeURIComponent(id)}/events`,
        headers: { accept: "text/event-stream", ...resume },
        repeatable: true,
        signal,
      };
      const response = await this.#send(call, (answer) => answer);
      if (response.status === 204 || response.body === null) return;
      let silence = setTimeout(() => cut.abort(), SILENCE_MS);
      const alive = () => {
        clearTimeout(silence);
        silence = setTimeout(() => cut.abort(), SILENCE_MS);
      };
      try {
        for await (const frame of frames(response.body, alive)) {
          if (frame.retry !== undefined) waitMs = frame.retry;
          if (frame.data === "") continue;
          const event = JSON.parse(frame.data) as JobEvent;
          if (event.seq <= seen) continue;
          // Numbers have no gaps: something on the way lost a part of the stream.
          if (event.seq > seen + 1) break;
          seen = event.seq;
          yield event;
          if (LAST_EVENTS.has(event.kind)) return;
        }
      } catch (error) {
        outer?.throwIfAborted();
        // The connection broke, or was silent for too long: it is resumed.
        if (error instanceof SyntaxError) throw error;
      } finally {
        clearTimeout(silence);
        cut.abort();
      }
      failures = seen > before ? 0 : failures + 1;
      if (failures >= this.#attempts) {
        throw new ConnectionError(`the events of job ${id} broke off ${failures} times without one`);
      }
      await sleep(waitMs * 2 ** failures, outer);
    }
  }

  /** Follows a job to its end and returns it, with its plan if it has one. */
  async watch(id: string, options: WatchOptions = {}): Promise<Job> {
    for await (const event of this.events(id, only(options))) options.onEvent?.(event, id);
    return this.job(id, only(options));
  }

  /** Requests plans and follows their jobs to the end. */
  async submitAndWatch(body: PlanRequest, options: SubmitAndWatchOptions = {}): Promise<Job[]> {
    const accepted = await this.submit(body, options);
    options.onAccepted?.(accepted);
    return Promise.all(accepted.jobs.map((job) => this.watch(job.id, options)));
  }

  get #attempts(): number {
    return this.#options.attempts ?? 5;
  }

  #json<T>(call: Call): Promise<T> {
    return this.#send(call, async (response) => {
      const text = await response.text();
      return (text === "" ? undefined : JSON.parse(text)) as T;
    });
  }

  /** Sends the request, with retries, until `read` has read a successful response. */
  async #send<T>(call: Call, read: (response: Response) => T | Promise<T>): Promise<T> {
    let expired = false;
    for (let attempt = 1; ; attempt += 1) {
      const last = !call.repeatable || attempt >= this.#attempts;
      let wait = ownWait(attempt);
      try {
        const response = await this.#once(call, expired);
        if (response.ok) return await read(response);
        const error = await refusal(response);
        if (error.status === 401 && !expired) {
          // Refused before it had an effect, so any request may be sent again.
          expired = true;
          continue;
        }
        if (last || !REPEATABLE.has(error.status)) throw error;
        wait = error.retryAfterSeconds ?? wait;
        if (wait > (this.#options.maxWaitSeconds ?? 60)) throw error;
      } catch (error) {
        call.signal?.throwIfAborted();
        if (error instanceof ProblemError) throw error;
        if (last) throw new ConnectionError(`${call.method} ${call.path}: no answer`, { cause: error });
      }
      await sleep(wait * 1_000, call.signal);
    }
  }

  async #once(call: Call, expired: boolean): Promise<Response> {
    const headers: Record<string, string> = { accept: "application/json", ...call.headers };
    const token = await this.#options.token({ expired });
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    const init: RequestInit = { method: call.method, headers };
    if (call.body !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(call.body);
    }
    if (call.signal) init.signal = call.signal;
    return this.#fetch(this.#base + call.path, init);
  }
}

function only({ signal }: CallOptions): CallOptions {
  return signal ? { signal } : {};
}

/** Doubles from half a second, with jitter. */
function ownWait(attempt: number): number {
  const ceiling = Math.min(FIRST_WAIT_SECONDS * 2 ** (attempt - 1), LONGEST_OWN_WAIT_SECONDS);
  return ceiling * (0.5 + Math.random() / 2);
}

async function refusal(response: Response): Promise<ProblemError> {
  const after = retryAfter(response.headers.get("retry-after"));
  let problem: Problem | undefined;
  try {
    problem = (await response.json()) as Problem;
  } catch {
    // Not a problem document, for example a proxy's page.
  }
  if (typeof problem?.detail !== "string") {
    const detail = `the server answered ${response.status}`;
    const instance = response.headers.get("x-request-id") ?? "";
    problem = { type: "about:blank", title: detail, status: response.status, detail, instance, code: "unknown" };
  }
  return new ProblemError(problem, after);
}

/** Seconds, or an HTTP date. */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1_000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}
