/** The id of a section's conversation: a plain number, because chats have those; different for every length. */
export function conversationId(messages: number, conversation: number): number {
  return 1_000_000_000 + messages * 10_000 + conversation;
}
