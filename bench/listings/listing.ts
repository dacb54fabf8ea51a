import type { Kind, Place } from '../subject.js';

/** Something that can find one user's conversations among all, and remove the oldest. A row of the listing table. */
export interface Listing {
  readonly name: string;
  readonly kind: Kind;
  readonly floor?: string;
  open(place: Place): Promise<OpenedListing>;
}

export interface OpenedListing {
  /** Makes a conversation of this user, with a variable and two messages, written now. */
  add(id: number, owner: string): Promise<void>;
  /** Finds one user's conversations, with owner and times; returns how many. */
  listOwner(owner: string): Promise<number>;
  /**
   * Removes the conversations last written before this moment, epoch milliseconds; returns how many. Absent where a
   * library has no such function.
   */
  removeBefore?(moment: number): Promise<number>;
  close(): Promise<void>;
}

/** What every module with listings exports. */
export interface ListingModule {
  readonly listings: readonly Listing[];
}

export const MAP_LISTING = 'floor: a Map, looked through';
export const FILE_LISTING = 'floor: readdir and stat, a directory per user';
export const VALKEY_LISTING = 'floor: ZRANGE and a pipeline of HMGET; of DEL and ZREM';
