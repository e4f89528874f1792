// Bounds what a report shows to people, whatever the model's size. The JSON report has everything.
import type { Check } from "../base/check.ts";
import type { Table } from "./document.ts";
import { formatCount } from "./units.ts";

/** How much a page shows of a document. */
export interface Limits {
  /** Rows of one table. */
  readonly rows: number;
  /** UTF-16 units of one text: a name from a hostile file may be as long as the file. */
  readonly text: number;
  /** UTF-8 bytes of the whole page. */
  readonly bytes: number;
}

/** A piece of a page: rows between a beginning and an end. */
export interface Block {
  readonly begin: string;
  readonly rows: readonly string[];
  readonly end: string;
  /** Rows that were left out before. */
  readonly left: number;
  /** Told of the rows that are left out. */
  readonly more: (left: number) => string;
}

export const moreRows = (left: number, what = "row"): string =>
  `${formatCount(left)} more ${what}${left === 1 ? "" : "s"}; the JSON report has all`;

/** The rows that a table shows, and how many it leaves out. */
export function shownRows(
  { rows, most = rows.length, unlisted = 0 }: Table,
  limit: number,
): { shown: Table["rows"]; left: number } {
  const shown = rows.slice(0, Math.min(most, limit));
  return { shown, left: rows.length - shown.length + unlisted };
}

/** At most `limit` checks in their order. What failed or was not checked stays as long as there is room for it. */
export function shownChecks(checks: readonly Check[], limit: number): { shown: readonly Check[]; left: number } {
  if (checks.length <= limit) return { shown: checks, left: 0 };
  const of = (...statuses: Check["status"][]) => checks.filter(({ status }) => statuses.includes(status));
  const kept = new Set([...of("failed"), ...of("not checked"), ...of("passed")].slice(0, limit));
  return { shown: checks.filter((check) => kept.has(check)), left: checks.length - kept.size };
}

export const clipped = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, "")}…`;

const encoder = new TextEncoder();
const bytesOf = (text: string): number => encoder.encode(text).length;

/**
 * The blocks joined to at most `bytes`. Each shows as many rows as its share of the room allows; what the small ones leave
 * goes to the large ones. Blocks for whose beginnings alone there is no room are left out from the end.
 */
export function fitted(
  blocks: readonly Block[],
  { bytes, between, rest }: { readonly bytes: number; readonly between: string; readonly rest: string },
): string {
  const fixed = blocks.map(({ begin, end, rows, left, more }) =>
    bytesOf(begin + end + between + more(rows.length + left)),
  );
  let room = bytes - bytesOf(between + rest);
  const fits = fixed.findIndex((size) => {
    room -= size;
    return room < 0;
  });
  const kept = fits < 0 ? blocks : blocks.slice(0, fits);
  const shares = sharesOf(
    kept.map(({ rows }) => rows.map(bytesOf)),
    Math.max(0, fits < 0 ? room : 0),
  );
  const texts = kept.map(({ begin, rows, end, left, more }, i) => {
    const shown = rows.slice(0, shares[i]);
    const missing = rows.length - shown.length + left;
    return begin + shown.join("") + end + (missing > 0 ? more(missing) : "");
  });
  return [...texts, ...(fits < 0 ? [] : [rest])].join(between);
}

/** How many rows of each block fit, where all blocks have an equal claim to `room`. */
function sharesOf(sizes: readonly (readonly number[])[], room: number): number[] {
  const totals = sizes.map((rows) => rows.reduce((sum, size) => sum + size, 0));
  const shares = totals.map(() => 0);
  const smallestFirst = [...totals.keys()].toSorted((a, b) => totals[a]! - totals[b]!);
  let left = room;
  for (const [n, i] of smallestFirst.entries()) {
    const share = Math.floor(left / (smallestFirst.length - n));
    let used = 0;
    const end = sizes[i]!.findIndex((size) => {
      if (used + size > share) return true;
      used += size;
      return false;
    });
    shares[i] = end < 0 ? sizes[i]!.length : end;
    left -= used;
  }
  return shares;
}
