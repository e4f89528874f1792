// There and back without writing either: what a conversion would make of the source, converted back as it is read.
import type { Check } from "../base/check.ts";
import { UsageError } from "../base/errors.ts";
import { runSteps, type StepOptions } from "../base/steps.ts";
import { Xxh64 } from "../base/xxh64/xxh64.ts";
import { outputFiles } from "../convert/outputs.ts";
import { originOf, recordOf, renamedTo, settledBy, withKept } from "../convert/record-of.ts";
import { encodedSource, readScales } from "../encodings/encoded.ts";
import type { EncodedTensor } from "../encodings/encoding.ts";
import { defaultTarget, throughTable } from "../family/family.ts";
import { isSameLayout, type Layout, layoutNamed } from "../family/layout.ts";
import { RECORD_NAME } from "../formats/file-names.ts";
import type { OutputFile, OutputPart } from "../formats/output.ts";
import { checkArgument } from "../model/argument-kinds.ts";
import type { Model } from "../model/model.ts";
import { encodeRecord, parseRecord } from "../model/record.ts";
import type { Table } from "../table/plan.ts";
import { checkBytes, checkValues } from "../views/checks.ts";
import { compareTensors } from "../views/compare.ts";
import type { Difference } from "../views/difference.ts";
import { directionFrom, type Mapping, mapByTable, wholeMove } from "../views/mapping.ts";
import { virtualSource } from "../views/produce.ts";
import { tableTo } from "../views/tables.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import { checksumChecks, notCheckedNote } from "./not-checked.ts";

/** The JSON document of `roundtrip` (CONTRACT). */
export interface RoundTrip {
  readonly verdict: "pass" | "fail";
  readonly family: string;
  readonly layout: string;
  /** Layout that the tensors went through. */
  readonly via: string;
  readonly tensors: number;
  readonly bytes: number;
  readonly differences: readonly Difference[];
  /** xxh64 of every tensor as it came back. */
  readonly hashes: readonly { readonly key: string; readonly xxh64: string }[];
  /** Safetensors files as they came back, and whether the source's own have the same bytes. */
  readonly files: readonly {
    readonly name: string;
    readonly path: string;
    readonly bytes: number;
    readonly xxh64: string;
    readonly same: boolean;
  }[];
  /** Tensors that are not carried over, with the reason. */
  readonly dropped: readonly { readonly key: string; readonly reason: string }[];
  /** What could not be checked. */
  readonly notChecked: readonly Check[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

export interface RoundTripOptions extends StepOptions {
  /** Layout to go through; the other side's default unless given. */
  readonly to?: string | undefined;
}

/** Throws what planning and reading throw, and InputError TIE_BROKEN, DROP_NOT_DEFAULT. */
export async function roundtrip(model: Model, options: RoundTripOptions = {}): Promise<RoundTrip> {
  checkArgument("roundtrip", "Model", model);
  const begin = performance.now();
  const { there, back, notes } = mapBothWays(model, options.to);
  const trip = new Trip(model, there, back, [Xxh64.alone(), Xxh64.alone()]);
  const bytes = trip.bytes;
  const differences = await runSteps(trip.run(), "there and back", 2 * bytes + checkBytes(there), options);
  model.checkpoint.verify(model.stored.keys);
  return {
    verdict: differences.length === 0 ? "pass" : "fail",
    family: model.adapter.family,
    layout: model.layout.name,
    via: there.to.name,
    tensors: trip.tensors,
    bytes,
    differences,
    hashes: trip.hashes,
    files: trip.files,
    notChecked: checksumChecks(model.checkpoint),
    dropped: there.dropped.map(({ key, reason }) => ({ key, reason })),
    notes: [...model.stored.notes, ...notes, ...trip.notes, ...notCheckedNote(model.checkpoint)],
    seconds: (performance.now() - begin) / 1e3,
  };
}

function mapBothWays(
  model: Model,
  to: string | undefined,
): { readonly there: Mapping; readonly back: Mapping; readonly notes: readonly string[] } {
  const { via, table, there } = to === undefined ? usualWay(model) : wayTo(model, layoutBetween(model, to));
  const target = { path: "", format: "dcp", fileName: null } as const;
  const origin = originOf(model.checkpoint, model);
  const written = recordOf(origin, target, model.adapter.family, there, model.encoded, () => false);
  const record = written === null ? null : parseRecord(encodeRecord(written), RECORD_NAME);
  const plain = mapByTable(table, virtualSource(there), [via, model.layout], {
    ...settledBy(record),
    ...(model.layout.side === "native" ? { aliases: there.aliases, spelling: there.spelling } : {}),
    ...(there.form === undefined ? {} : { form: there.form }),
    targetEncoding: (key) => model.encoded.get(key)?.encoding.name,
  });
  if (record === null) return { there, back: plain, notes: [] };
  const { mapping, notes } = withKept(plain, record);
  return { there, back: mapping, notes };
}

/** A layout of the other model. */
function layoutBetween({ family, layout }: Model, to: string): Layout {
  const via = layoutNamed(family, to);
  if (via !== undefined && via.side !== layout.side) return via;
  const others = layout.side === "hf" ? family.layouts : [family.hf];
  const expected = others.map(({ name }) => name).join(", ");
  throw new UsageError("UNKNOWN_LAYOUT_NAME", `--to ${to}: no way there and back from ${layout.name}`, {
    expected,
    found: to,
    help: `go through ${expected}`,
  });
}

interface Way {
  readonly via: Layout;
  readonly table: Table;
  readonly there: Mapping;
}

function wayTo(model: Model, via: Layout): Way {
  const table = tableTo(model, via);
  return { via, table, there: mapByTable(table, model.source, [model.layout, via]) };
}

/** Where a conversion goes, or where that has no place for all that is there, through the table that knows it. */
function usualWay(model: Model): Way {
  const { family, layout, source } = model;
  const [target, known] = [defaultTarget(family, layout), throughTable(family, layout)];
  if (isSameLayout(target, known)) return wayTo(model, known);
  const table = tableTo(model, target);
  if (table.check(directionFrom(layout), source.tensors).length > 0) return wayTo(model, known);
  const there = mapByTable(table, source, [layout, target]);
  return there.dropped.length === 0 ? { via: target, table, there } : wayTo(model, known);
}

class Trip {
  readonly hashes: { key: string; xxh64: string }[] = [];
  readonly files: { name: string; path: string; bytes: number; xxh64: string; same: boolean }[] = [];
  readonly notes: string[] = [];
  readonly #model: Model;
  readonly #there: Mapping;
  readonly #back: Mapping;
  /** What was there, as it is stored: codes and scales too have to come back. */
  readonly #own: TensorSource;
  readonly #returned: TensorSource;
  readonly #hashers: readonly [Xxh64, Xxh64];
  /** Keys of the layout by those in the files, where these spell them otherwise. */
  readonly #layoutKeys: ReadonlyMap<string, string>;

  constructor(model: Model, there: Mapping, back: Mapping, hashers: readonly [Xxh64, Xxh64]) {
    this.#model = model;
    this.#there = there;
    this.#back = back;
    const returned = virtualSource(back);
    const encoded = [...model.encoded.values()].map((tensor) => ({ ...tensor, key: keyOf(model, tensor) }));
    this.#returned =
      encoded.length === 0 ? returned : encodedSource(returned, encoded, (key) => readScales(model.checkpoint, key));
    this.#own = encoded.length === 0 ? model.source : model.checkpoint;
    this.#hashers = hashers;
    this.#layoutKeys = new Map([...model.stored.names].map(([key, stored]) => [stored, key]));
  }

  get tensors(): number {
    return this.#own.tensors.size;
  }

  get bytes(): number {
    return [...this.#own.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  *run(): Generator<number, Difference[], void> {
    yield* checkValues(this.#there, () => false);
    const differences = this.#keys();
    const faulty = new Set(differences.map(({ key }) => key));
    for (const info of this.#own.tensors.values()) {
      const returned = this.#returned.tensors.get(info.key);
      if (faulty.has(info.key) || returned === undefined) continue;
      const hashing = this.#hashing(this.#hashers[0].reset());
      const found = yield* compareTensors(this.#own, hashing, [info, returned]);
      // Zeros that the way there leaves out carry no dtype to the way back.
      const isAnew = this.#back.tensors.get(info.key)?.move.fill !== undefined;
      const note = ({ key, detail }: Difference) => `"${key}" is made anew on the way back: ${detail}`;
      if (isAnew && found.every(({ kind }) => kind === "dtype")) this.notes.push(...found.map(note));
      else differences.push(...found);
      this.hashes.push({ key: info.key, xxh64: this.#hashers[0].digest() });
    }
    if (differences.length === 0) differences.push(...(yield* this.#compareFiles()));
    return differences;
  }

  /** The tensors that came back, hashed as they are read: from end to end, in order. */
  #hashing(hasher: Xxh64): TensorSource {
    return {
      tensors: this.#returned.tensors,
      read: (key, begin, target) => {
        this.#returned.read(key, begin, target);
        hasher.update(target);
      },
    };
  }

  #keys(): Difference[] {
    const differences: Difference[] = [];
    const own = this.#own;
    const dropped = new Map(this.#there.dropped.map(({ key, reason }) => [key, reason]));
    for (const key of own.tensors.keys()) {
      if (this.#returned.tensors.has(key)) continue;
      const reason = dropped.get(key);
      if (reason === undefined) differences.push({ key, kind: "missing", detail: "did not come back" });
      else this.notes.push(`"${key}" is not carried over: ${reason}`);
    }
    for (const [key, { move }] of this.#back.tensors) {
      if (own.tensors.has(key) || this.#model.encoded.has(key)) continue;
      if (move.rule === "tie" || move.rule === "drop") this.notes.push(`"${key}" is made anew on the way back`);
      else differences.push({ key, kind: "extra", detail: "came back without having been there" });
    }
    return differences;
  }

  /** Safetensors files made again from what came back, against those on disk. */
  *#compareFiles(): Generator<number, Difference[], void> {
    const { safetensors: origin, names } = this.#model.stored;
    if (origin === null) return [];
    const target = { path: "", format: "safetensors", fileName: null } as const;
    const originals = { files: origin, cast: false };
    const { files } = outputFiles(
      { mapping: renamedTo(names, this.#stored()), ranked: null, target, originals, metadata: null },
      {},
    );
    const differences: Difference[] = [];
    for (const file of files) {
      const same = yield* this.#compareFile(file);
      if (!same) differences.push({ key: file.name, kind: "file", detail: "its bytes came back differently" });
    }
    return differences;
  }

  /** The mapping back, of what is stored. */
  #stored(): Mapping {
    if (this.#returned.tensors.size === this.#back.tensors.size) return this.#back;
    const moves = [...this.#returned.tensors.values()].map((info) => {
      return [info.key, { info, move: wholeMove(info), sources: [info.key] }] as const;
    });
    return { ...this.#back, source: this.#returned, tensors: new Map(moves) };
  }

  *#compareFile(file: OutputFile): Generator<number, boolean, void> {
    const [returned, own] = this.#hashers;
    returned.reset();
    own.reset();
    const source = this.#model.checkpoint.folder.open(file.name);
    const buffer = Buffer.alloc(BLOCK_BYTES);
    try {
      for (let at = 0; at < source.byteLength; at += buffer.length) {
        const bytes = buffer.subarray(0, Math.min(buffer.length, source.byteLength - at));
        source.read(at, bytes);
        own.update(bytes);
      }
    } finally {
      source.close();
    }
    for (const part of file.parts) yield* this.#hashPart(part, returned, buffer);
    const xxh64 = returned.digest();
    const same = xxh64 === own.digest();
    this.files.push({ name: file.name, path: source.name, bytes: file.byteLength, xxh64, same });
    return same;
  }

  *#hashPart(part: OutputPart, hasher: Xxh64, buffer: Buffer): Generator<number, void, void> {
    if (part.kind === "bytes") hasher.update(part.bytes);
    else if (part.kind !== "tensor") throw new Error(`${part.kind}: no part of a safetensors file`);
    else {
      const key = this.#layoutKeys.get(part.key) ?? part.key;
      for (let at = part.begin; at < part.end; at += buffer.length) {
        const bytes = buffer.subarray(0, Math.min(buffer.length, part.end - at));
        this.#returned.read(key, at, bytes);
        hasher.update(bytes);
        yield bytes.length;
      }
    }
  }
}

/** By what name the way back makes it. */
const keyOf = ({ encoded }: Model, tensor: EncodedTensor): string =>
  [...encoded].find(([, one]) => one === tensor)?.[0] ?? tensor.key;

const BLOCK_BYTES = 1 << 20;
