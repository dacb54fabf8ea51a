import { KINDS, type Subject, type SubjectModule } from './subject.js';
import { type LoadedModule, loadModule, loadModules } from './support/load-modules.js';

/** A subject and the module it comes from, by which another process finds it. */
export interface Loaded {
  readonly subject: Subject;
  readonly module: string;
}

const OWN = ['floors/map.ts', 'floors/files.ts', 'floors/scripts.ts', 'own-scripts.ts', 'agentup.ts'];

/** The rows of the tables, floors and ourselves first within each kind. */
export async function loadSubjects(peers: boolean, leftOut: (line: string) => void): Promise<Loaded[]> {
  const modules = await loadModules<SubjectModule>(OWN, peers ? 'subjects' : undefined, leftOut);
  const all = modules.flatMap(loadedFrom);
  return KINDS.flatMap((kind) => all.filter(({ subject }) => subject.kind === kind));
}

/** The subject of this name in a module. */
export async function loadSubject(module: string, name: string): Promise<Subject> {
  const found = loadedFrom(await loadModule<SubjectModule>(module)).find(({ subject }) => subject.name === name);
  if (!found) throw new Error(`${module} has no subject ${name}`);
  return found.subject;
}

function loadedFrom({ url, exports: { subjects } }: LoadedModule<SubjectModule>): Loaded[] {
  return subjects.map((subject) => ({ subject, module: url }));
}
