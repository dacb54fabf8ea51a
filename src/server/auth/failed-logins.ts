import { createHash } from 'node:crypto';
import { ipKeyGenerator } from 'express-rate-limit';
import { type Clock, systemClock } from '../../clock.js';
import type { SecurityConfig } from '../../config/index.js';
import type { AddressOf } from '../client-address.js';
import type { Layer } from '../layers.js';
import { sendProblem } from '../problem.js';

/** Most addresses remembered. Whoever has more addresses than that is not stopped by counting them. */
const MOST_ADDRESSES = 10_000;
/** Most credentials remembered that were right. */
const MOST_RIGHT = 10_000;
/** Wrong ones of an address that are known again. */
const LAST_WRONG = 3;

type Limit = SecurityConfig['login_limit'];

interface Failures {
  readonly until: number;
  count: number;
  /** Digests of the last wrong ones. */
  wrong: readonly string[];
}

/**
 * Counts the wrong keys and tokens of each address, so that one that guesses can be refused. Behind one address there
 * may be many (NAT, a proxy), so two things do not lock out the others: one wrong key, sent again and again by a client
 * that nobody looks after, counts once; and what was right before is looked at all the same, as nobody guesses that.
 */
export class FailedLogins {
  readonly #limit: Limit;
  readonly #clock: Clock;
  /** By address, those whose time is over first. */
  readonly #failures = new Map<string, Failures>();
  /** Digests, that which was right longest ago first. */
  readonly #right = new Set<string>();

  constructor(limit: Limit, clock: Clock = systemClock) {
    this.#limit = limit;
    this.#clock = clock;
  }

  /** Milliseconds for which a credential is refused without a look at it; 0: it is not. */
  refusedFor(address: string, credential: string): number {
    const { failures } = this.#limit;
    const known = this.#failures.get(address);
    if (failures === 0 || !known || known.count < failures) return 0;
    const left = Math.max(known.until - this.#clock.now(), 0);
    return left > 0 && this.#right.has(digestOf(credential)) ? 0 : left;
  }

  add(address: string, credential: string, right: boolean): void {
    if (this.#limit.failures === 0) return;
    const digest = digestOf(credential);
    this.#right.delete(digest);
    if (right) this.#know(digest);
    else this.#fail(address, digest);
  }

  #know(digest: string): void {
    this.#right.add(digest);
    if (this.#right.size <= MOST_RIGHT) return;
    const [oldest = digest] = this.#right;
    this.#right.delete(oldest);
  }

  #fail(address: string, digest: string): void {
    const now = this.#clock.now();
    const known = this.#failures.get(address);
    if (known && known.until > now) {
      if (known.wrong.includes(digest)) return;
      known.count++;
      known.wrong = [...known.wrong, digest].slice(-LAST_WRONG);
      return;
    }
    this.#failures.delete(address);
    for (const [oldest, { until }] of this.#failures) {
      if (until > now && this.#failures.size < MOST_ADDRESSES) break;
      this.#failures.delete(oldest);
    }
    this.#failures.set(address, { until: now + this.#limit.seconds * 1000, count: 1, wrong: [digest] });
  }
}

/**
 * Refuses an address from which too many keys or tokens were wrong, before the next one is looked at: also a right
 * one that is new here, or guessing would go on. Requests that carry none guess nothing and are not counted. Counted
 * is when the answer is made, not when it has gone: a connection may bring many requests at once.
 * @param header what carries the key or token
 */
export function limitFailedLogins(logins: FailedLogins, header: string, addressOf: AddressOf): Layer {
  return (request, response, next) => {
    const credential = request.headers[header];
    if (typeof credential !== 'string' || credential === '') return next();
    const address = ipKeyGenerator(addressOf(request));
    const refusedFor = logins.refusedFor(address, credential);
    if (refusedFor > 0) {
      response.setHeader('Retry-After', String(Math.ceil(refusedFor / 1000)));
      return sendProblem(response, {
        status: 429,
        code: 'RATE_LIMITED',
        text: 'Too many keys or tokens from here were wrong. Try again later.',
      });
    }
    request.loginEnded = (right) => logins.add(address, credential, right);
    next();
  };
}

/** Long tokens take memory, and none is kept in clear. */
function digestOf(credential: string): string {
  return createHash('sha256').update(credential).digest('base64');
}
