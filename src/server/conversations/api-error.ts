/** A refusal of the conversation API, as its caller is told. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly errors: readonly { readonly path: string; readonly message: string }[] | undefined;

  constructor(status: number, code: string, title: string, errors?: ApiError['errors']) {
    super(title);
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

export function notFound(): ApiError {
  return new ApiError(404, 'NOT_FOUND', 'There is no such conversation.');
}
