/** The peers, each by its module here; one that cannot be imported on this machine is left out with a line. */
export const modules: Record<'subjects' | 'listings', readonly string[]> = {
  subjects: [
    './better-sqlite3.ts',
    './grammy.ts',
    './telegraf.ts',
    './botbuilder.ts',
    './unstorage.ts',
    './keyv.ts',
    './connect-redis.ts',
    './langchain.ts',
    './chat-sdk.ts',
  ],
  listings: ['./unstorage-listing.ts', './keyv-listing.ts'],
};
