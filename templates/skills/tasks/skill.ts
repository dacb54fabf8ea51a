import 'reflect-metadata';
import { type ConversationContext, injected, skill, stateful, type Task, textOf } from 'agentup';

/** A piece of work that takes longer than one message, one day, or one process. */
export interface Job {
  title: string;
  steps: string[];
  /** How many of the steps are done. */
  done: number;
  status: 'running' | 'paused' | 'finished';
}

const HELP = 'Say "start <title>: <step>, <step>, …", then "next", "pause", "resume" or "status".';

@skill({ id: 'template_id', name: 'template name', description: 'template description' })
export class TemplateSkill {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    const text = textOf(task).trim();
    const [word = ''] = text.toLowerCase().split(/\s+/, 1);
    const job = await context.getVariable<Job>(contextId, 'job');

    if (word === 'start') return this.start(text.slice(word.length), job, context, contextId);
    if (!job) return `There is nothing to do yet. ${HELP}`;
    switch (word) {
      case 'next':
        return this.next(job, context, contextId);
      case 'pause':
        if (job.status !== 'running') return `"${job.title}" is ${job.status}.`;
        await context.setVariable(contextId, 'job', { ...job, status: 'paused' });
        return `Paused "${job.title}" after step ${job.done} of ${job.steps.length}. Say "resume" when you like.`;
      case 'resume':
        if (job.status !== 'paused') return `"${job.title}" is ${job.status}.`;
        await context.setVariable(contextId, 'job', { ...job, status: 'running' });
        return `Resumed "${job.title}". Next: ${job.steps[job.done]}.`;
      case 'status':
        return `"${job.title}" is ${job.status}: ${job.done} of ${job.steps.length} steps done.`;
      default:
        return HELP;
    }
  }

  private async start(
    plan: string,
    job: Job | undefined,
    context: ConversationContext,
    contextId: string,
  ): Promise<string> {
    if (job && job.status !== 'finished') return `"${job.title}" is ${job.status}. Finish it first.`;
    const [title = '', list = ''] = plan.split(/:(.*)/s).map((part) => part.trim());
    const steps = list
      .split(',')
      .map((step) => step.trim())
      .filter((step) => step !== '');
    if (title === '' || steps.length === 0) return HELP;
    await context.setVariable(contextId, 'job', { title, steps, done: 0, status: 'running' });
    await context.addToHistory(contextId, 'system', `started ${title}`);
    return `Started "${title}" with ${steps.length} steps. First: ${steps[0]}.`;
  }

  private async next(job: Job, context: ConversationContext, contextId: string): Promise<string> {
    const step = job.steps[job.done];
    if (job.status !== 'running' || step === undefined) return `"${job.title}" is ${job.status}.`;
    const outcome = await this.perform(step, job);
    const done = job.done + 1;
    const status = done === job.steps.length ? 'finished' : 'running';
    await context.setVariable(contextId, 'job', { ...job, done, status });
    await context.addToHistory(contextId, 'assistant', outcome, { step: done });
    return status === 'finished'
      ? `${outcome} That was the last step: "${job.title}" is finished.`
      : `${outcome} Next: ${job.steps[done]}.`;
  }

  /** Does one step. Put your work here; when it throws, the step stays to be done and can be tried again. */
  protected async perform(step: string, job: Job): Promise<string> {
    return `Did step ${job.done + 1}, ${step}.`;
  }
}
