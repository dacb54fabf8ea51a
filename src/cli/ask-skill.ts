import { type Interview, usage } from './interview.js';
import { freeId, idFor, idProblem, nameProblem } from './scaffold/names.js';
import { FLAVOURS, type Flavour, type SkillAnswers } from './scaffold/skill-files.js';

/** The flags that describe a new skill. */
export interface SkillFlags {
  readonly name?: string | undefined;
  readonly id?: string | undefined;
  readonly description?: string | undefined;
  /** `--stateful` and `--no-stateful`. */
  readonly stateful?: boolean | undefined;
  readonly template?: string | undefined;
}

export interface SkillQuestions {
  /** What the flags are called where they are asked for. */
  readonly nameFlag: string;
  readonly idFlag: string;
  readonly nameMessage: string;
  /** Without it the name is owed. */
  readonly initialName?: string;
  /** The sentence that says why an id that nobody has chosen yet cannot be had, or nothing. */
  readonly taken: (id: string) => string | undefined;
}

/** Collects what a new skill is. @throws USAGE, CANCELLED */
export async function askSkill(
  interview: Interview,
  flags: SkillFlags,
  { nameFlag, idFlag, nameMessage, initialName, taken }: SkillQuestions,
): Promise<SkillAnswers> {
  const name = await interview.text({
    flag: nameFlag,
    message: nameMessage,
    given: flags.name,
    initial: initialName,
    check: nameProblem,
  });
  // From flags the same skill again is no mistake: it is there, unchanged.
  const asksId = interview.live && flags.id === undefined;
  const id = await interview.text({
    flag: idFlag,
    message: 'Its id',
    given: flags.id,
    initial: asksId ? freeId(idFor(name), (id) => taken(id) !== undefined) : idFor(name),
    check: (text) => {
      const problem = asksId ? taken(text) : undefined;
      return idProblem(text) ?? (problem && `${problem}; choose another id`);
    },
  });
  const flavour = await askFlavour(interview, flags);
  const description = await interview.text({
    flag: '--description',
    message: 'What it does, in a sentence',
    given: flags.description,
    initial: sentence(FLAVOURS[flavour].summary),
    check: (text) => nameProblem(text, 500),
  });
  return { id, name: name.trim(), flavour, description };
}

async function askFlavour(interview: Interview, flags: SkillFlags): Promise<Flavour> {
  const named = Object.keys(FLAVOURS).find((flavour) => flavour === flags.template) as Flavour | undefined;
  if (named && flags.stateful !== undefined && FLAVOURS[named].stateful !== flags.stateful) {
    const kind = FLAVOURS[named].stateful ? 'remembers' : 'remembers nothing';
    throw usage(`--template ${named} ${kind}: that contradicts ${flags.stateful ? '--stateful' : '--no-stateful'}`);
  }
  const stateful =
    named || flags.template !== undefined
      ? undefined
      : await interview.confirm({
          flag: '--stateful',
          message: 'Does it remember the conversation?',
          given: flags.stateful,
          initial: true,
        });
  if (stateful === false) return 'plain';
  const choices = Object.entries(FLAVOURS)
    .filter(([, flavour]) => stateful === undefined || flavour.stateful)
    .map(([value, { summary }]) => ({ value, name: `${value}: ${summary}` }));
  return interview.choice<Flavour>({
    flag: '--template',
    message: 'Start from',
    given: flags.template,
    initial: 'memory',
    choices,
  });
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
