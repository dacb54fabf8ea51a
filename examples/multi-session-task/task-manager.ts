import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task } from 'agentup';

interface LongTask {
  title: string;
  steps: string[];
  done: number;
  status: 'running' | 'paused' | 'completed';
  startedAt: string;
}

const STEPS = ['Collect the data', 'Clean it', 'Train the model', 'Write the report'];

@skill({
  id: 'task_manager',
  name: 'Task manager',
  description: 'Takes you through a long task, step by step',
})
export class TaskManager {
  // The task is the user's, not the conversation's: it goes on in whatever conversation they come back.
  @stateful({ scope: 'user' })
  async handle(task: Task, context: ConversationContext = injected(), userId: string = injected()): Promise<string> {
    const current = await context.getVariable<LongTask>(userId, 'task');
    const command = /\b(start|next|pause|resume|status)\b/i.exec(task.text)?.[1]?.toLowerCase();

    if (command === 'start') {
      if (current && current.status !== 'completed') return `"${current.title}" is still ${describe(current)}.`;
      const title = /\bstart(?: task)?\s+(.+)$/i.exec(task.text)?.[1] ?? 'Untitled';
      const started: LongTask = {
        title,
        steps: STEPS,
        done: 0,
        status: 'running',
        startedAt: new Date().toISOString(),
      };
      await context.setVariable(userId, 'task', started);
      return `Started "${title}". First: ${STEPS[0]}.`;
    }

    if (!current) return 'There is no task yet. Say "start task" and its name.';
    switch (command) {
      case 'next': {
        if (current.status !== 'running') return `"${current.title}" is ${describe(current)}.`;
        current.done++;
        if (current.done === current.steps.length) current.status = 'completed';
        await context.setVariable(userId, 'task', current);
        return current.status === 'completed'
          ? `"${current.title}" is completed.`
          : `${current.steps[current.done - 1]}: done. Next: ${current.steps[current.done]}.`;
      }
      case 'pause':
      case 'resume': {
        if (current.status === 'completed') return `"${current.title}" is completed already.`;
        current.status = command === 'pause' ? 'paused' : 'running';
        await context.setVariable(userId, 'task', current);
        return `"${current.title}" is ${describe(current)}.`;
      }
      default:
        return `"${current.title}" is ${describe(current)}. Say next, pause, resume or status.`;
    }
  }
}

function describe({ status, done, steps }: LongTask): string {
  return status === 'completed' ? 'completed' : `${status}, ${done} of ${steps.length} steps done`;
}
