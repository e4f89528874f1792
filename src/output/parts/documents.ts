// The documents of parts: what a plan depends on, what its output is, and what a part wrote. They are all that machines tell each
// other, and appear whole, by renaming.
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputError } from "../../base/errors.ts";
import { type JsonFault, JsonReader, parseJson } from "../../base/json.ts";
import { entryAt } from "../exchange.ts";
import { syncFolder } from "../staging.ts";
import { writing } from "../staging-errors.ts";
import type { Left, LeftBytes } from "./left.ts";
import { doneName, outlineName, type PartNumber, planName } from "./place.ts";
import type { Range } from "./share.ts";
import { isSigned, signed } from "./signed.ts";

/** Something that a plan depends on, or that tells in words why it is as it is. */
export interface Term {
  /** As people know it. */
  readonly name: string;
  readonly value: string;
  /** Whether plans are told apart by it. */
  readonly counts: boolean;
}

export interface PlanDocument {
  /** SHA-256 of the terms that count, in hex. */
  readonly plan: string;
  /** Name of the target, which the folder's own name may hold in part only. */
  readonly target: string;
  /** Number of parts. */
  readonly of: number;
  readonly terms: readonly Term[];
}

/** @param target its name @param of number of parts */
export function planDocumentOf(target: string, of: number, terms: readonly Term[]): PlanDocument {
  const counted = terms.filter(({ counts }) => counts).map(({ name, value }) => [name, value]);
  return { plan: createHash("sha256").update(JSON.stringify(counted)).digest("hex"), target, of, terms };
}

export interface OutlinedFile {
  readonly name: string;
  readonly byteLength: number;
  /** Whether it is a copy of a file beside the source. */
  readonly isCopy: boolean;
}

/** The whole output, so that it can be joined without plan and source. */
export interface Outline {
  readonly plan: string;
  readonly files: readonly OutlinedFile[];
  /** What each part writes. */
  readonly shares: readonly (readonly Range[])[];
  readonly left: Left;
  /** Paths that are read, on the machine that wrote this. */
  readonly reads: readonly string[];
  /** Whether the target is the only file, not a folder. */
  readonly isFile: boolean;
  /** What whoever writes parts knows of the whole. */
  readonly about: unknown;
}

export interface WrittenRange extends Range {
  /** Of what was written of it, in hex. */
  readonly xxh64: string;
  /** Bytes [begin, end) of the file that were left out. */
  readonly left: readonly (readonly [number, number])[];
}

export interface PartDocument extends PartNumber {
  readonly plan: string;
  readonly run: string;
  /** Name of the machine. */
  readonly host: string;
  readonly ranges: readonly WrittenRange[];
  /** Checksums that are asked for, in pieces: name of the file, number, begin and end in the data, CRC-32. */
  readonly sums: readonly (readonly [file: string, sum: number, begin: number, end: number, crc32: number])[];
  /** What whoever writes parts found in this one. */
  readonly about: unknown;
}

const VERSION = 2;

export function writePlan(home: string, document: PlanDocument): void {
  writeDocument(join(home, planName(document.plan)), {
    format: "convert-checkpoint plan of parts",
    version: VERSION,
    ...document,
  });
}

export function writeOutline(home: string, { left, ...outline }: Outline): void {
  // It is the same, whoever writes it.
  if (hasOutline(home, outline.plan)) return;
  const path = join(home, outlineName(outline.plan));
  const bytes = left.bytes.map((each) => ({ ...each, bytes: Buffer.from(each.bytes).toString("base64") }));
  writeDocument(path, {
    format: "convert-checkpoint outline of parts",
    version: VERSION,
    ...outline,
    left: { ...left, bytes },
  });
}

export const hasOutline = (home: string, plan: string): boolean => entryAt(join(home, outlineName(plan))) !== null;

export function writePart(home: string, part: PartDocument): void {
  writeDocument(join(home, doneName(part.plan, part)), {
    format: "convert-checkpoint part",
    version: VERSION,
    ...part,
  });
}

const writeDocument = (path: string, json: object): void => writeText(path, signed(JSON.stringify(json)));

/** A document appears whole, or not at all. */
export function writeText(path: string, text: string): void {
  const temporary = join(dirname(path), `${randomUUID()}.tmp`);
  writing(path, () => {
    try {
      fs.writeFileSync(temporary, text, { flag: "wx", flush: true });
      fs.renameSync(temporary, path);
      syncFolder(dirname(path));
    } finally {
      fs.rmSync(temporary, { force: true });
    }
  });
}

/** The terms of a plan's document. */
export const termsIn = (plan: JsonReader): Term[] =>
  plan
    .field("terms")
    .list()
    .map((term) => ({
      name: term.field("name").text(),
      value: term.field("value").text(),
      counts: term.field("counts").boolean(),
    }));

/** Null where it is not there. Throws InputError PARTS_DAMAGED. */
export function readPlan(path: string): PlanDocument | null {
  return read(path, (root) => {
    const plan = digestOf(root.field("plan"));
    if (planName(plan) !== basename(path)) root.field("plan").fail("plan of that name");
    return { plan, target: fileName(root.field("target")), of: root.field("of").size(), terms: termsIn(root) };
  });
}

/** As `readPlan`. */
export function readOutline(home: string, plan: string): Outline | null {
  return read(join(home, outlineName(plan)), (root) => ({
    plan: same(root.field("plan"), plan),
    files: root
      .field("files")
      .list()
      .map((file) => ({
        name: fileName(file.field("name")),
        byteLength: file.field("byteLength").size(),
        isCopy: file.field("isCopy").boolean(),
      })),
    shares: root
      .field("shares")
      .list()
      .map((share) => share.list().map(rangeOf)),
    left: {
      bytes: root.field("left").field("bytes").list().map(leftOf),
      sums: root
        .field("left")
        .field("sums")
        .list()
        .map((sum) => ({
          file: fileName(sum.field("file")),
          sum: sum.field("sum").size(),
          byteLength: sum.field("byteLength").size(),
        })),
    },
    reads: root
      .field("reads")
      .list()
      .map((path) => path.text()),
    isFile: root.field("isFile").boolean(),
    about: root.field("about").value,
  }));
}

/** As `readPlan`. */
export function readPart(home: string, plan: string, part: PartNumber): PartDocument | null {
  return read(join(home, doneName(plan, part)), (root) => ({
    plan: same(root.field("plan"), plan),
    number: same(root.field("number"), part.number),
    of: same(root.field("of"), part.of),
    run: root.field("run").text(),
    host: root.field("host").text(),
    ranges: root
      .field("ranges")
      .list()
      .map((range) => ({
        ...rangeOf(range),
        xxh64: range.field("xxh64").text(),
        left: range
          .field("left")
          .list()
          .map((pair) => pairOf(pair)),
      })),
    sums: root
      .field("sums")
      .list()
      .map((sum) => {
        const [file, ...numbers] = sum.list();
        const [number, begin, end, crc] = numbers.map((each) => each.size());
        if (file === undefined || crc === undefined) return sum.fail("checksum of a piece");
        return [fileName(file), number!, begin!, end!, crc] as const;
      }),
    about: root.field("about").value,
  }));
}

function leftOf(left: JsonReader): LeftBytes {
  return {
    file: fileName(left.field("file")),
    begin: left.field("begin").size(),
    bytes: Buffer.from(left.field("bytes").text(), "base64"),
    holes: left
      .field("holes")
      .list()
      .map((hole) => pairOf(hole)),
  };
}

const rangeOf = (range: JsonReader): Range => ({
  file: fileName(range.field("file")),
  begin: range.field("begin").size(),
  end: range.field("end").size(),
});

function pairOf(pair: JsonReader): readonly [number, number] {
  const [first, second, ...others] = pair.list();
  if (first === undefined || second === undefined || others.length > 0) return pair.fail("pair of sizes");
  return [first.size(), second.size()];
}

/** A name that stays inside the output. */
function fileName(reader: JsonReader): string {
  const name = reader.text();
  const isSafe = !/[\\\0]/.test(name) && name.split("/").every((step) => !["", ".", ".."].includes(step));
  return isSafe ? name : reader.fail("name within the target");
}

function digestOf(reader: JsonReader): string {
  const text = reader.text();
  return /^[0-9a-f]{64}$/.test(text) ? text : reader.fail("SHA-256 in hex");
}

/** What the document's own name says: one that was copied under another name is of another part. */
const same = <T extends string | number>(reader: JsonReader, expected: T): T =>
  reader.value === expected ? expected : reader.fail(`${expected}, as its name says`);

/** V8's longest string is longer than this. */
const MOST_BYTES = 500e6;

function read<T>(path: string, parse: (root: JsonReader) => T): T | null {
  const stats = entryAt(path);
  if (stats === null) return null;
  const refuse = (problem: string, fault?: JsonFault): InputError =>
    new InputError("PARTS_DAMAGED", `${path}: ${problem}`, {
      file: path,
      ...(fault === undefined ? {} : { expected: fault.expected, found: fault.found }),
      help: "it is no longer what a part wrote: remove it, and run its part again",
    });
  if (!stats.isFile() || stats.size > MOST_BYTES) throw refuse("is no document of a part");
  const text = fs.readFileSync(path, "utf8");
  let json: unknown;
  try {
    json = parseJson(text);
  } catch {
    throw refuse("is not JSON");
  }
  const root = new JsonReader(json, (fault) =>
    refuse(`${fault.place || "the document"} is no ${fault.expected}`, fault),
  );
  if (root.field("version").value !== VERSION) throw refuse("is of another version of the format");
  if (!isSigned(text)) throw refuse("is not the text that was written");
  return parse(root);
}
