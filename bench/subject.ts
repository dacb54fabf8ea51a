/** Something that keeps conversations and can do the turn on one: us, a raw floor, a peer. A row in the tables. */
export interface Subject {
  readonly name: string;
  readonly kind: Kind;
  /** The row that this one is divided by; none for a floor. */
  readonly floor?: string;
  /** A turn costs the same at any length, or is meant to: also measured at 100,000 messages. */
  readonly flat?: boolean;
  /** Whether processes can share what it keeps. Default: whatever is not in memory can be shared. */
  readonly shared?: boolean;
  /** Whether throughput is measured. */
  readonly throughput?: boolean;
  /** Turns of one conversation may be started at once: they are handled in their order. */
  readonly queues?: boolean;
  open(place: Place): Promise<Opened>;
}

export type Kind = 'memory' | 'file' | 'sqlite' | 'valkey';

/** In the order of the tables. */
export const KINDS: readonly Kind[] = ['memory', 'file', 'sqlite', 'valkey'];

/** Where a subject may keep things. Every subject uses names of its own in there. */
export interface Place {
  /** `redis://…`, a Valkey of ours. */
  readonly url: string;
  /** A directory of ours, removed at the end. */
  readonly directory: string;
}

export interface Opened {
  /** Makes a conversation with the variables that a turn reads and so many messages, in whatever way is cheap. */
  seed(id: number, messages: number): Promise<void>;
  /** The turn; returns the `visits` that it counted, so that a memory that was lost is noticed. */
  turn(id: number): Promise<number>;
  /** What is there of a conversation. */
  look?(id: number): Promise<Left>;
  close(): Promise<void>;
}

export interface Left {
  /** Undefined where a subject keeps messages only. */
  readonly visits: number | undefined;
  readonly messages: number;
}

/** What every module with subjects exports. */
export interface SubjectModule {
  readonly subjects: readonly Subject[];
}
