import { mkdirSync, readdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'iovalkey';
import { line, message, NAME } from '../turn-data.js';
import { FILE_LISTING, type Listing, MAP_LISTING, VALKEY_LISTING } from './listing.js';

const map: Listing = {
  name: MAP_LISTING,
  kind: 'memory',
  async open() {
    const all = new Map<number, { owner: string; updatedAt: number; data: unknown }>();
    return {
      add: async (id, owner) => {
        all.set(id, { owner, updatedAt: Date.now(), data: { name: NAME, history: [message(), message()] } });
      },
      listOwner: async (owner) => {
        const found = [];
        for (const [id, one] of all) if (one.owner === owner) found.push({ id, owner, updatedAt: one.updatedAt });
        return found.length;
      },
      removeBefore: async (moment) => {
        const before = all.size;
        for (const [id, { updatedAt }] of all) if (updatedAt < moment) all.delete(id);
        return before - all.size;
      },
      close: async () => all.clear(),
    };
  },
};

const files: Listing = {
  name: FILE_LISTING,
  kind: 'file',
  async open({ directory }) {
    const root = join(directory, 'floor');
    const seen = (owner: string): { path: string; updatedAt: number }[] =>
      readdirSync(join(root, owner)).map((name) => {
        const path = join(root, owner, name);
        return { path, updatedAt: statSync(path).mtimeMs };
      });
    return {
      add: async (id, owner) => {
        mkdirSync(join(root, owner), { recursive: true });
        writeFileSync(join(root, owner, String(id)), line());
      },
      listOwner: async (owner) => seen(owner).length,
      removeBefore: async (moment) => {
        const old = readdirSync(root).flatMap((owner) => seen(owner).filter(({ updatedAt }) => updatedAt < moment));
        for (const { path } of old) unlinkSync(path);
        return old.length;
      },
      close: async () => {},
    };
  },
};

const valkey: Listing = {
  name: VALKEY_LISTING,
  kind: 'valkey',
  async open({ url }) {
    const client = new Redis(url);
    const [byTime, byOwner] = ['floor:times', (owner: string) => `floor:owner:${owner}`];
    return {
      add: async (id, owner) => {
        const [key, now] = [`floor:${id}`, Date.now()];
        await client
          .multi()
          .hset(key, 'name', NAME, 'owner', owner, 'created', now, 'updated', now)
          .rpush(`${key}:log`, JSON.stringify(message()), JSON.stringify(message()))
          .zadd(byTime, now, key)
          .zadd(byOwner(owner), now, key)
          .exec();
      },
      listOwner: async (owner) => {
        const pipeline = client.pipeline();
        for (const key of await client.zrange(byOwner(owner), 0, -1))
          pipeline.hmget(key, 'owner', 'created', 'updated');
        return (await pipeline.exec())?.length ?? 0;
      },
      removeBefore: async (moment) => {
        const old = await client.zrangebyscore(byTime, '-inf', `(${moment}`);
        const owners = client.pipeline();
        for (const key of old) owners.hget(key, 'owner');
        const pipeline = client.pipeline();
        for (const [index, [, owner]] of ((await owners.exec()) ?? []).entries()) {
          const key = old[index] as string;
          pipeline
            .del(key, `${key}:log`)
            .zrem(byTime, key)
            .zrem(byOwner(String(owner)), key);
        }
        await pipeline.exec();
        return old.length;
      },
      close: async () => client.disconnect(),
    };
  },
};

export const listings = [map, files, valkey];
