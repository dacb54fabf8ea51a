/** The candidate that `text` was most likely meant to be, or nothing. */
export function closest(text: string, candidates: readonly string[]): string | undefined {
  const wanted = bare(text);
  if (wanted === '') return undefined;
  let best: string | undefined;
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, bare(candidate));
    if (distance < least) {
      best = candidate;
      least = distance;
    }
  }
  if (best !== undefined || wanted.length < 3) return best;
  const part = candidates.filter((candidate) => bare(candidate).includes(wanted) || wanted.includes(bare(candidate)));
  return part.length === 1 ? part[0] : undefined;
}

/** "did you mean `valkey`?", or nothing where nothing is close. */
export function didYouMean(text: string, candidates: readonly string[]): string | undefined {
  const candidate = closest(text, candidates);
  return candidate === undefined ? undefined : `did you mean \`${candidate}\`?`;
}

/** `keyPrefix`, `key-prefix` and `KEY_PREFIX` are one spelling. Cut, since the cost grows with the square. */
function bare(text: string): string {
  return text
    .slice(0, 100)
    .toLowerCase()
    .replace(/[\s_-]/g, '');
}

/** Insertions, deletions, replacements and swaps of neighbours between two texts. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
