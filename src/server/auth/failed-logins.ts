import type { RequestHandler } from 'express';
import { ipKeyGenerator } from 'express-rate-limit';
import { type Clock, systemClock } from '../../clock.js';
import type { SecurityConfig } from '../../config/index.js';
import { SERVICE_KEY_HEADER } from '../conversations/service-keys.js';
import { sendProblem } from '../middleware.js';
import { API_KEY_HEADER } from './api-keys.js';

/** Where a request carries what its sender claims to be known by. */
const CREDENTIALS = ['authorization', API_KEY_HEADER, SERVICE_KEY_HEADER];
/** Most addresses remembered. Whoever has more addresses than that is not stopped by counting them. */
const MOST_ADDRESSES = 10_000;

type Limit = SecurityConfig['login_limit'];

/** Counts the wrong keys and tokens of each address. */
export class FailedLogins {
  readonly #limit: Limit;
  readonly #clock: Clock;
  /** By address, those whose time is over first. */
  readonly #known = new Map<string, { readonly until: number; count: number }>();

  constructor(limit: Limit, clock: Clock = systemClock) {
    this.#limit = limit;
    this.#clock = clock;
  }

  /** Milliseconds for which an address is refused; 0: it is not. */
  refusedFor(address: string): number {
    const entry = this.#known.get(address);
    return entry && entry.count >= this.#limit.failures ? Math.max(entry.until - this.#clock.now(), 0) : 0;
  }

  add(address: string): void {
    const now = this.#clock.now();
    const entry = this.#known.get(address);
    if (entry && entry.until > now) {
      entry.count++;
      return;
    }
    this.#known.delete(address);
    for (const [oldest, { until }] of this.#known) {
      if (until > now && this.#known.size < MOST_ADDRESSES) break;
      this.#known.delete(oldest);
    }
    this.#known.set(address, { until: now + this.#limit.seconds * 1000, count: 1 });
  }
}

/**
 * Refuses an address from which too many keys or tokens were wrong, before the next one is looked at: also a right
 * one, or guessing would go on. Requests that carry none guess nothing and are not counted.
 */
export function limitFailedLogins(logins: FailedLogins): RequestHandler {
  return (request, response, next) => {
    if (!CREDENTIALS.some((header) => request.headers[header] !== undefined)) return next();
    const address = ipKeyGenerator(request.ip ?? '');
    const refusedFor = logins.refusedFor(address);
    if (refusedFor > 0) {
      response.set('Retry-After', String(Math.ceil(refusedFor / 1000)));
      return sendProblem(response, {
        status: 429,
        code: 'RATE_LIMITED',
        text: 'Too many keys or tokens from here were wrong. Try again later.',
      });
    }
    response.once('finish', () => {
      if (response.statusCode === 401) logins.add(address);
    });
    next();
  };
}
