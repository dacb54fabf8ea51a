import { inject } from 'vitest';

export { type ClusterMember, type Shard, startValkeyCluster, type ValkeyCluster } from './valkey-cluster.js';
export { startValkey, type ValkeyServer } from './valkey-server.js';

/**
 * The real Valkey of this test run. All test files share it, so each uses a key prefix of its own and never flushes;
 * a test that stops, restarts or fills its server starts one with `startValkey`.
 */
export function valkeyUrl(): string {
  return inject('valkeyUrl');
}
