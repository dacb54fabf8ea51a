export type { ConformanceBackend, ConformanceRunner } from './harness.js';
export { storageConformance } from './storage-conformance.js';
