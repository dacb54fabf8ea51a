/** The floors that rows are divided by. */
export const MAP_FLOOR = 'floor: a Map that clones what the turn touches';
export const APPEND_FLOOR = 'floor: one appendFileSync';
export const SYNC_FLOOR = 'floor: one writeSync + fdatasync (asynchronous)';
export const SCRIPTS_FLOOR = 'floor: two iovalkey script calls';
