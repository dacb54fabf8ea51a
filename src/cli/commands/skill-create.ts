import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { addSkill, setDefaultSkill, setState, skillIdsAsWritten, stateAsWritten } from '../../config/edit-config.js';
import { type SkillConfigInput, validateConfigFile } from '../../config/index.js';
import { askRouting, type RoutingFlags } from '../ask-routing.js';
import { askSkill, type SkillFlags } from '../ask-skill.js';
import { askState, isBackend, type StateFlags, stateFlagsGiven } from '../ask-state.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { fileInTheWay } from '../file-in-the-way.js';
import { Interview, type InterviewMode, usage } from '../interview.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import { reportOutcomes } from '../report-outcomes.js';
import { readSkillTemplates } from '../scaffold/read-templates.js';
import { FLAVOURS, handlerPath, type SkillAnswers, skillFiles } from '../scaffold/skill-files.js';
import type { StateAnswers } from '../scaffold/state-answers.js';
import type { Terminal } from '../terminal.js';
import { conflict, writePlan } from '../write-plan.js';

export interface SkillCreateOptions extends PlaceFlags, InterviewMode, SkillFlags, StateFlags, RoutingFlags {
  readonly force?: boolean;
}

/** `agentup skill create [name]`: handler, test, and entry in the configuration; all of them or none. */
export async function run(options: SkillCreateOptions, terminal: Terminal): Promise<ExitCode> {
  const { file } = validateConfigFile({
    file: options.config,
    cwd: workingDirectory(options, terminal),
    env: terminal.env,
  });
  const text = await readFile(file, 'utf8');
  const present = presentState(text);
  const directory = dirname(file);
  const ids = skillIdsAsWritten(text);
  const taken = (id: string): string | undefined =>
    ids.includes(id) ? `there is a skill ${id} already` : fileInTheWay(directory, id, options.force);
  const interview = new Interview(terminal, options, async () => {
    const problem = options.id === undefined ? undefined : taken(options.id);
    if (problem !== undefined) throw conflict([problem], 'give the new skill another id');
  });
  const skill = await askSkill(interview, options, {
    nameFlag: 'the name (as an argument or with --name)',
    idFlag: '--id',
    nameMessage: 'What is it called?',
    taken,
  });
  const state = await stateFor(skill, interview, options, present);
  const routing = await askRouting(interview, options);

  const entry: SkillConfigInput = {
    id: skill.id,
    name: skill.name,
    description: skill.description,
    handler: `./${handlerPath(skill.id)}`,
    ...(routing.keywords.length > 0 && { keywords: [...routing.keywords] }),
    ...(routing.patterns.length > 0 && { patterns: [...routing.patterns] }),
    ...(routing.priority !== undefined && { priority: routing.priority }),
  };
  let edited = addSkill(text, entry);
  if (options.default) edited = setDefaultSkill(edited, skill.id);
  if (state) edited = await withState(edited, state, present, interview, options);

  const outcomes = await writePlan(
    directory,
    [
      ...skillFiles(skill, await readSkillTemplates(skill.flavour)),
      { path: basename(file), content: edited, replaces: text },
    ],
    options,
  );
  reportOutcomes(terminal, options, {
    directory,
    outcomes,
    skill,
    next: ['npm test', `npx agentup chat --skill ${skill.id}`],
  });
  return EXIT.done;
}

/** What the configuration says about state, as far as the questions are about it. */
function presentState(text: string): StateAnswers | undefined {
  const { backend = 'file', url, key_prefix, storage_dir, ttl } = stateAsWritten(text);
  const written = Object.keys(stateAsWritten(text)).length > 0;
  return written && isBackend(backend) ? { backend, url, key_prefix, storage_dir, ttl } : undefined;
}

async function stateFor(
  { flavour }: SkillAnswers,
  interview: Interview,
  options: SkillCreateOptions,
  present: StateAnswers | undefined,
): Promise<StateAnswers | undefined> {
  if (FLAVOURS[flavour].stateful) return askState(interview, options, present);
  const [flag] = stateFlagsGiven(options);
  if (flag !== undefined) throw usage(`${flag} says where state is kept, and this skill has none`, flag);
  return undefined;
}

/** All skills share the state section, so changing it takes more than the wish for a new skill. */
async function withState(
  text: string,
  state: StateAnswers,
  present: StateAnswers | undefined,
  interview: Interview,
  { force }: SkillCreateOptions,
): Promise<string> {
  const edited = setState(text, state);
  if (edited === text || present === undefined || force) return edited;
  const change =
    present.backend === state.backend
      ? `other settings for ${state.backend}`
      : `${state.backend} instead of ${present.backend}`;
  const agreed =
    interview.live &&
    (await interview.confirm({
      flag: '--force',
      message: `That means ${change}, for all skills of this agent. Change it?`,
      initial: false,
    }));
  if (agreed) return edited;
  throw conflict(
    [`agent_config.yaml says otherwise: the answers mean ${change}, for all skills of this agent`],
    'leave out what says where conversations are kept, or pass --force to change it for all skills',
  );
}
