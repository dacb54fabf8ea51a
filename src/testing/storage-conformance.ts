import { testAtomicity } from './atomicity.js';
import { testCarrying } from './carrying.js';
import { testChanges } from './changes.js';
import { testCommitIds } from './commit-ids.js';
import { testConcurrency } from './concurrency.js';
import { testConditions } from './conditions.js';
import { testExpiry } from './expiry.js';
import { type ConformanceBackend, type ConformanceRunner, Harness } from './harness.js';
import { testIdempotency } from './idempotency.js';
import { testLeases } from './leases.js';
import { testLifecycle } from './lifecycle.js';
import { testListing } from './listing.js';
import { testLog } from './log.js';
import { testPassing } from './passing.js';
import { testReads } from './reads.js';
import { testRefusals } from './refusals.js';
import { testReservations } from './reservations.js';
import { testScopes } from './scopes.js';
import { testSweeping } from './sweeping.js';
import { testValues } from './values.js';

/**
 * Registers the tests that every `StateStorage` must pass, one for each promise of the contract. Call it once per
 * backend, at the top level of a test file:
 *
 *     storageConformance({ name: 'mine', open: async () => new MyStorage() }, { describe, it, afterAll });
 *
 * Every test works in a space of its own, so that it neither needs nor leaves an empty store. Without `advance` some
 * tests wait in real time: all together a few seconds; give each at least ten.
 */
export function storageConformance(backend: ConformanceBackend, runner: ConformanceRunner): void {
  runner.describe(`${backend.name} keeps the storage contract`, () => {
    const harness = new Harness(backend, runner);
    testValues(harness);
    testReads(harness);
    testChanges(harness);
    testAtomicity(harness);
    testConditions(harness);
    testCommitIds(harness);
    testIdempotency(harness);
    testConcurrency(harness);
    testLog(harness);
    testLeases(harness);
    testReservations(harness);
    testPassing(harness);
    testExpiry(harness);
    testScopes(harness);
    testListing(harness);
    testSweeping(harness);
    testCarrying(harness);
    testRefusals(harness);
    testLifecycle(harness);
  });
}
