import { it } from 'vitest';
import { startValkeyCluster } from '/work/wt/cluster/test/support/valkey-cluster.ts';
it('x', async () => { for (let i=0;i<3;i++){ const t=performance.now(); const c = await startValkeyCluster(); console.log('total', performance.now()-t); await c.stop(); } });
