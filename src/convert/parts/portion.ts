// What each part does beside writing its bytes: tensors of the model that it hashes, assumptions that it checks, tensors of the
// source whose checksums it verifies. A part does what concerns the bytes that it writes, as far as that can be told, so that the
// source is read by one machine; the rest goes to the part with the least to do. Everyone comes to the same result.
import type { OutputFile } from "../../formats/output.ts";
import { partsWithin } from "../../formats/output.ts";
import type { Range } from "../../output/parts/share.ts";
import type { Mapping } from "../../views/mapping.ts";
import type { ConversionPlan } from "../plan.ts";
import type { Held } from "./seal-share.ts";

/** Which part writes how many bytes of each tensor of the target. */
export class Places {
  /** Of tensors in one part. */
  readonly #whole = new Map<string, number>();
  readonly #cut = new Map<string, Map<number, number>>();
  /** What each part has to do, in bytes. */
  readonly loads: number[];

  constructor({ files, shards }: Pick<ConversionPlan, "files" | "shards">, shares: readonly (readonly Range[])[]) {
    this.loads = shares.map((ranges) => ranges.reduce((sum, { begin, end }) => sum + end - begin, 0));
    const byFile = new Map<string, (Range & { readonly part: number })[]>();
    for (const [part, ranges] of shares.entries()) {
      for (const range of ranges) {
        const known = byFile.get(range.file) ?? [];
        byFile.set(range.file, known);
        known.push({ ...range, part });
      }
    }
    for (const file of files) {
      for (const { key, part, bytes } of placed(file, byFile.get(file.name) ?? []))
        this.#add(shards.get(key)?.key ?? key, part, bytes);
    }
  }

  #add(key: string, part: number, bytes: number): void {
    const before = this.#whole.get(key) ?? part;
    const cut = this.#cut.get(key);
    if (cut !== undefined) cut.set(part, (cut.get(part) ?? 0) + bytes);
    else this.#whole.set(key, part);
    if (cut === undefined && before !== part) {
      // How much the first one has does not matter much: whoever begins has it.
      this.#cut.set(
        key,
        new Map([
          [before, Number.POSITIVE_INFINITY],
          [part, bytes],
        ]),
      );
      this.#whole.delete(key);
    }
  }

  /** The part that writes a tensor, or most of it; null where nobody does. */
  ownerOf(key: string): number | null {
    const whole = this.#whole.get(key);
    if (whole !== undefined) return whole;
    const cut = this.#cut.get(key);
    return cut === undefined ? null : [...cut].reduce((most, each) => (each[1] > most[1] ? each : most))[0];
  }

  /** Whether one part writes all of a tensor. */
  isWhole(key: string): boolean {
    return this.#whole.has(key);
  }

  /** Gives work of so many bytes to whoever has the least to do. */
  lightest(bytes: number): number {
    let least = 0;
    for (const [part, load] of this.loads.entries()) if (load < this.loads[least]!) least = part;
    this.loads[least]! += bytes;
    return least;
  }
}

function* placed(file: OutputFile, ranges: readonly (Range & { readonly part: number })[]) {
  let at = 0;
  for (const { part, begin, end } of partsWithin(file)) {
    if (part.kind !== "tensor") continue;
    while (at < ranges.length && ranges[at]!.end <= begin) at += 1;
    for (let i = at; i < ranges.length && ranges[i]!.begin < end; i += 1) {
      const range = ranges[i]!;
      yield { key: part.key, part: range.part, bytes: Math.min(end, range.end) - Math.max(begin, range.begin) };
    }
  }
}

/** The part that hashes each tensor: the one that writes it, where there is one. */
export const hashers = (held: readonly Held[], places: Places): number[] =>
  held.map(({ key, byteLength }) => places.ownerOf(key) ?? places.lightest(byteLength));

/** Keys of the source that a target tensor is made of. */
function sourcesOf(mappings: readonly Mapping[], key: string): string[] {
  const own = mappings.at(-1)?.tensors.get(key)?.sources ?? [];
  const before = mappings.slice(0, -1);
  return before.length === 0 ? [...own] : own.flatMap((each) => sourcesOf(before, each));
}

/** By key of the source's files: the part that verifies it. */
export function verifiers(plan: ConversionPlan, places: Places): ReadonlyMap<string, number> {
  const parts = new Map<string, number>();
  for (const key of plan.mapping.tensors.keys()) {
    const owner = places.ownerOf(key);
    if (owner === null) continue;
    for (const source of sourcesOf(plan.mappings, key)) {
      for (const stored of plan.storedAs(source)) if (!parts.has(stored)) parts.set(stored, owner);
    }
  }
  const { tensors } = plan.source;
  for (const key of plan.sourceKeys) {
    if (!parts.has(key)) parts.set(key, places.lightest(tensors.get(key)?.byteLength ?? 0));
  }
  return parts;
}

/** By mapping: the part that checks an alias or a tensor that is dropped. */
export function checkers(plan: ConversionPlan, places: Places): ReadonlyMap<Mapping, ReadonlyMap<string, number>> {
  return new Map(
    plan.mappings.map((mapping) => {
      const { equalities, dropped, source } = mapping;
      const keys = [...equalities.map(({ alias }) => alias), ...dropped.map(({ key }) => key)];
      const size = (key: string) => source.tensors.get(key)?.byteLength ?? 0;
      return [mapping, new Map(keys.map((key) => [key, places.lightest(2 * size(key))]))];
    }),
  );
}
