import { type ListTasksRequest, type ListTasksResponse, type Task, TaskState } from '@a2a-js/sdk';
import { RequestMalformedError } from '@a2a-js/sdk/errors';
import type { RecordInfo } from '../../storage/state-storage.js';

const PAGE = 50;

/**
 * One page of tasks. Only those of the page are loaded, unless they are chosen by state or time, which only the tasks
 * themselves tell.
 */
export async function listTasks(
  records: readonly RecordInfo[],
  query: ListTasksRequest,
  load: (taskId: string) => Promise<Task | undefined>,
): Promise<ListTasksResponse> {
  const { pageSize = PAGE, pageToken, includeArtifacts = false } = query;
  const newest = [...records].sort((a, b) => b.updatedAt - a.updatedAt || (a.key.id < b.key.id ? 1 : -1));
  const chosen = isChoosy(query) ? await choose(newest, query, load) : newest;
  const cursor = pageToken ? cursorOf(pageToken) : undefined;
  const after = cursor ? chosen.findIndex((info) => isAfter(info, cursor)) : 0;
  const rest = after < 0 ? [] : chosen.slice(after);
  const page = rest.slice(0, pageSize);
  const tasks: Task[] = [];
  for (const { key } of page) {
    const task = await load(key.id);
    if (task) tasks.push(includeArtifacts ? task : { ...task, artifacts: [] });
  }
  const last = page.at(-1);
  const nextPageToken = last && rest.length > page.length ? tokenOf(last) : '';
  return { tasks, nextPageToken, pageSize, totalSize: chosen.length };
}

function isChoosy({ status, statusTimestampAfter }: ListTasksRequest): boolean {
  return (status !== undefined && status !== TaskState.TASK_STATE_UNSPECIFIED) || Boolean(statusTimestampAfter);
}

async function choose(
  records: readonly RecordInfo[],
  { status, statusTimestampAfter }: ListTasksRequest,
  load: (taskId: string) => Promise<Task | undefined>,
): Promise<RecordInfo[]> {
  const since = statusTimestampAfter ? Date.parse(statusTimestampAfter) : Number.NEGATIVE_INFINITY;
  const chosen: RecordInfo[] = [];
  for (const record of records) {
    // A status is never younger than the last change of its task.
    if (record.updatedAt < since) break;
    const state = (await load(record.key.id))?.status;
    if (!state || (status && state.state !== status)) continue;
    if (Date.parse(state.timestamp ?? '') > since || !statusTimestampAfter) chosen.push(record);
  }
  return chosen;
}

interface Cursor {
  readonly updatedAt: number;
  readonly id: string;
}

function tokenOf({ updatedAt, key }: RecordInfo): string {
  return Buffer.from(JSON.stringify([updatedAt, key.id])).toString('base64url');
}

function cursorOf(token: string): Cursor {
  try {
    const [updatedAt, id] = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown[];
    if (typeof updatedAt === 'number' && typeof id === 'string') return { updatedAt, id };
  } catch {}
  throw new RequestMalformedError('pageToken is not one of ours');
}

function isAfter({ updatedAt, key }: RecordInfo, cursor: Cursor): boolean {
  return updatedAt < cursor.updatedAt || (updatedAt === cursor.updatedAt && key.id < cursor.id);
}
