// Who does what: a run divided into parts of about equal work, from headers and inputs alone, so that every machine divides it
// alike without asking another.
import type { Restart } from "../../../numerics/driver.ts";
import type { RowRange } from "../../../numerics/logit-rows.ts";
import type { ForwardPlan } from "../../../numerics/shapes/plan.ts";
import { GROUP_TOKENS } from "../../../numerics/tap-sums.ts";
import { UsageError } from "../../base/errors.ts";
import { stretchesOf } from "./stretches.ts";

/** An input, as far as it is divided. */
export interface Divisible {
  readonly tokens: number;
  readonly flops: number;
  /** Images belong to all of their tokens: an input that has some is not cut. */
  readonly isWhole: boolean;
}

/** To read a byte of a weight and make a number of it takes about as long as so many FLOPs. */
const FLOPS_OF_BYTE = 2;

/**
 * Rows of all inputs' positions for each part: whole inputs where there are enough, else groups of tokens of one.
 * @throws UsageError PARTS_TOO_MANY
 */
export function sharesOfTokens(inputs: readonly Divisible[], parts: number): RowRange[] {
  if (inputs.length >= parts) {
    const starts = inputs.map((_, i) => inputs.slice(0, i).reduce((row, { tokens }) => row + tokens, 0));
    const rows = inputs.reduce((row, { tokens }) => row + tokens, 0);
    const costs = inputs.map(({ flops }) => flops);
    return divided(costs, parts).map(({ begin, end }) => ({ begin: starts[begin]!, end: starts[end] ?? rows }));
  }
  const most = inputs.map(({ tokens, isWhole }) => (isWhole ? 1 : Math.ceil(tokens / GROUP_TOKENS)));
  checkParts(
    parts,
    most.reduce((sum, n) => sum + n, 0),
    `pieces of ${GROUP_TOKENS} tokens, or whole inputs with images`,
  );
  const counts = inputs.map(() => 1);
  for (let given = inputs.length; given < parts; given++) {
    const free = inputs.map(({ tokens }, i) => (counts[i]! < most[i]! ? tokens / counts[i]! : 0));
    counts[free.indexOf(Math.max(...free))]!++;
  }
  let start = 0;
  return inputs.flatMap(({ tokens }, i) => {
    const first = start;
    start += tokens;
    const groups = Array.from({ length: most[i]! }, () => 1);
    return divided(groups, counts[i]!).map(({ begin, end }) => ({
      begin: first + begin * GROUP_TOKENS,
      end: end === most[i] ? first + tokens : first + end * GROUP_TOKENS,
    }));
  });
}

/**
 * Stretches of a pass between recorded taps for each part.
 * @param recorded taps of which hidden states were recorded, in the order of the pass
 * @throws UsageError PARTS_TOO_MANY
 */
export function sharesOfLayers({ steps }: ForwardPlan, recorded: readonly string[], parts: number): Restart[] {
  const stretches = stretchesOf(recorded);
  checkParts(parts, stretches.length, "stretches between recorded hidden states");
  const ends = stretches.map(({ to }) => (to === null ? steps.length : steps.findIndex(({ tap }) => tap === to) + 1));
  const costs = ends.map((end, i) =>
    steps
      .slice(ends[i - 1] ?? 0, end)
      .reduce((sum, { flops, weightBytes }) => sum + flops + FLOPS_OF_BYTE * weightBytes, 0),
  );
  return divided(costs, parts).map(({ begin, end }) => ({ from: stretches[begin]!.from, to: stretches[end - 1]!.to }));
}

/** Which tensors a part compares bit for bit: those of about equal bytes, one behind another. */
export function shareOfTensors(
  tensors: Iterable<{ readonly key: string; readonly byteLength: number }>,
  part: number,
  parts: number,
): (key: string) => boolean {
  const all = [...tensors];
  const total = all.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const own = new Set<string>();
  let before = 0;
  for (const { key, byteLength } of all) {
    const middle = before + byteLength / 2;
    if (Math.min(parts - 1, Math.floor((parts * middle) / total)) === part - 1) own.add(key);
    before += byteLength;
  }
  return (key) => own.has(key);
}

function checkParts(parts: number, most: number, what: string): void {
  if (parts <= most) return;
  throw new UsageError("PARTS_TOO_MANY", `${parts} parts are more than there is to divide`, {
    expected: `at most ${most}: ${what}`,
    found: String(parts),
    help: `give --part i/${most} or fewer parts`,
  });
}

/** Items [begin, end) of each part: none is empty, and each ends where its share of the costs is nearest. */
function divided(costs: readonly number[], parts: number): { readonly begin: number; readonly end: number }[] {
  const total = costs.reduce((sum, cost) => sum + cost, 0);
  const found: { begin: number; end: number }[] = [];
  let [begin, done] = [0, 0];
  for (let part = 1; part <= parts; part++) {
    const last = costs.length - (parts - part);
    let end = begin + 1;
    done += costs[begin]!;
    while (end < last && done + costs[end]! / 2 <= (total * part) / parts) done += costs[end++]!;
    if (part === parts) end = last;
    found.push({ begin, end });
    begin = end;
  }
  return found;
}
