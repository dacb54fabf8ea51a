/**
 * The field of a conversation's record with what has to be told to others once the turn that says so is committed: a
 * list that its writer appends to. Being part of the commit it is told if and only if that happened. No variable or
 * metadata entry is called so, and it outlives what erases the conversation.
 */
export const OUTGOING = 'outgoing';
