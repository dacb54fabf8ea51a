/** The work's result, or an error when it takes longer than this. */
export async function bounded<Result>(work: Promise<Result>, ms: number, what: string): Promise<Result> {
  let late: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    late = setTimeout(() => reject(new Error(`${what} took longer than ${ms / 60_000} minutes`)), ms);
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    clearTimeout(late);
  }
}
