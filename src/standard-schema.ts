import { AgentUpError } from './errors.js';

/**
 * The part of the Standard Schema interface (standardschema.dev, version 1) that validation needs.
 * zod, valibot, arktype and others implement it; none of them is a dependency.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
    /** Standard JSON Schema, which newer versions of the same libraries have. */
    readonly jsonSchema?:
      | { readonly input: (options: { readonly target: 'draft-2020-12' }) => Record<string, unknown> }
      | undefined;
  };
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema puts out. */
export type OutputOf<S extends StandardSchema> =
  S extends StandardSchema<unknown, infer Output> ? Output : NonNullable<S['~standard']['types']>['output'];

/** What a schema takes in. */
export type InputOf<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input'];

/** Is this a schema, and not a default value that happens to be an object? */
export function isStandardSchema(value: unknown): value is StandardSchema {
  const standard =
    (typeof value === 'object' || typeof value === 'function') && value !== null
      ? (value as Partial<StandardSchema>)['~standard']
      : undefined;
  return typeof standard?.validate === 'function';
}

/**
 * The output of a schema for a value.
 * @throws SCHEMA_INVALID with the schema's issues; `what` says in the sentence whose value it was, `field` by itself
 */
export async function validate<S extends StandardSchema>(
  schema: S,
  value: unknown,
  what: string,
  field = what,
): Promise<OutputOf<S>> {
  const result = await schema['~standard'].validate(value);
  if (!result.issues) return result.value as OutputOf<S>;
  throw new AgentUpError('SCHEMA_INVALID', `${what} does not fit its schema: ${issuesText(result.issues)}`, {
    field,
    issues: result.issues,
  });
}

/** The first issues of a schema in one sentence. */
export function issuesText(issues: readonly SchemaIssue[]): string {
  return issues
    .slice(0, 3)
    .map(({ message, path }) => {
      const steps = path?.map((step) => String(typeof step === 'object' ? step.key : step)) ?? [];
      return steps.length > 0 ? `${steps.join('.')}: ${message}` : message;
    })
    .join('; ');
}
