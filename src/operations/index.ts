export { type ExportOptions, exportRecords } from './export-records.js';
export { type ImportOptions, type ImportReport, importRecords } from './import-records.js';
export { type MigrateOptions, type MigrateProgress, type MigrateReport, migrate } from './migrate.js';
export { type StatsOptions, type StorageStats, storageStats, type Tally } from './storage-stats.js';
