// Which key was meant: the nearest known spelling, for error messages.

/** Fewest insertions, deletions and substitutions between two strings; Infinity beyond `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]! <= limit ? row[b.length]! : Number.POSITIVE_INFINITY;
}

const numbers = (key: string): string => key.match(/\d+/g)?.join() ?? "";

/**
 * The nearest key with the same numbers in it, at a distance of at most a third of its length; undefined if there is
 * none.
 */
export function nearestKey(key: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let limit = Math.ceil(key.length / 3);
  const own = numbers(key);
  for (const candidate of candidates) {
    if (numbers(candidate) !== own) continue;
    const distance = editDistance(key, candidate, limit);
    if (distance > limit || (best !== undefined && distance === limit)) continue;
    best = candidate;
    limit = distance;
  }
  return best;
}
