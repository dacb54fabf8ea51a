import { setMaxListeners } from 'node:events';
import type { Artifact, Task } from '@a2a-js/sdk';
import { type AgentExecutionEvent, DefaultExecutionEventBus } from '@a2a-js/sdk/server';
import { addPart } from './parts.js';

/** What has been said of a task. */
export type Said = Pick<Task, 'artifacts' | 'status'>;

/** Where the turn of a task says what happens, and all who listen hear it; knows what has been said so far. */
export class TaskBus extends DefaultExecutionEventBus {
  readonly #taskId: string;
  #said: Said | undefined;

  constructor(taskId: string) {
    super();
    this.#taskId = taskId;
    // As many may listen as like: each is gone with its connection.
    setMaxListeners(0, this);
  }

  override publish(event: AgentExecutionEvent): void {
    this.#note(event);
    super.publish(event);
  }

  /** Up to now; `undefined` where the task has not been told of yet. */
  said(): Said | undefined {
    return this.#said && { ...this.#said, artifacts: this.#said.artifacts.map(copyOf) };
  }

  #note({ kind, data }: AgentExecutionEvent): void {
    if (kind === 'task' && data.id === this.#taskId) {
      this.#said = { status: data.status, artifacts: data.artifacts.map(copyOf) };
    }
    const said = this.#said;
    // What a question of before is answered with is told of the task of then.
    if (!said || kind === 'task' || kind === 'message' || data.taskId !== this.#taskId) return;
    if (kind === 'statusUpdate') said.status = data.status;
    else if (data.artifact) put(said.artifacts, data.artifact, data.append);
  }
}

function put(artifacts: Artifact[], artifact: Artifact, append: boolean): void {
  const at = artifacts.findIndex(({ artifactId }) => artifactId === artifact.artifactId);
  const known = artifacts[at];
  if (known && append) for (const part of artifact.parts) addPart(known.parts, part);
  else if (known) artifacts[at] = copyOf(artifact);
  else artifacts.push(copyOf(artifact));
}

function copyOf(artifact: Artifact): Artifact {
  return { ...artifact, parts: [...artifact.parts] };
}
