// Rows of a tensor that stand in its siblings: a fused tensor was split, or several were joined, in another way.
import type { Sides } from "./along.ts";
import { lineHashes } from "./hashes.ts";
import type { Made, Reference } from "./reference.ts";
import type { Values } from "./values.ts";

/** Rows that stand together, in the tensor that has them in the reference model. */
export interface Segment {
  readonly key: string;
  readonly begin: number;
  rows: number;
}

const FIRST_ELEMENTS = 16;

/** Null where rows of no sibling are among them, or rows that none has. */
export function rowsElsewhere(
  { key, expected, found }: Sides & { readonly key: string },
  reference: Reference,
  made: Made,
): readonly Segment[] | null {
  if (found.shape.length < 2) return null;
  const width = found.shape.at(-1)!;
  const others = reference.siblingsOf(key).flatMap((sibling) => {
    const values = reference.values(sibling);
    return values === null ? [] : [{ key: sibling, values: made(values) }];
  });
  const all = [{ key, values: expected }, ...others];
  try {
    const first = Math.min(width, FIRST_ELEMENTS);
    const segments = others.length === 0 ? null : segmentsOf(found, all, width, first);
    if (segments === null || segments.every((each) => each.key === key)) return null;
    return first === width ? segments : segmentsOf(found, all, width, width);
  } finally {
    for (const each of others) reference.release(each.key);
  }
}

function segmentsOf(
  found: Values,
  all: readonly { readonly key: string; readonly values: Values }[],
  width: number,
  most: number,
): Segment[] | null {
  const places = new Map<number, { readonly key: string; readonly row: number }>();
  for (const { key, values } of all.toReversed()) {
    for (const [row, hash] of lineHashes(values, width, most).entries()) places.set(hash, { key, row });
  }
  const segments: Segment[] = [];
  for (const hash of lineHashes(found, width, most)) {
    const place = places.get(hash);
    if (place === undefined) return null;
    const last = segments.at(-1);
    if (last !== undefined && last.key === place.key && last.begin + last.rows === place.row) last.rows++;
    else segments.push({ key: place.key, begin: place.row, rows: 1 });
  }
  return segments;
}
