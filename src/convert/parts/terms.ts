// What a plan depends on, told alike on every machine: by what the headers say and what is planned, never by time or inode. Names
// and paths may differ between machines; they are told, so that people see why two plans differ.
import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import { VERSION } from "../../base/version.ts";
import { headersOnly } from "../../base/witness.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { commitOf } from "../../formats/io/folder.ts";
import { lengthOf, type OutputFile } from "../../formats/output.ts";
import { type PlanDocument, planDocumentOf, type Term } from "../../output/parts/documents.ts";
import { digestOf, headerDigest } from "../inputs.ts";
import type { ConversionPlan } from "../plan.ts";

export const planDocument = (plan: ConversionPlan, of: number): PlanDocument =>
  planDocumentOf(basename(resolve(plan.target.path)), of, termsOf(plan, of));

function termsOf({ source, inputs, mappings, files, asked, target, recordText }: ConversionPlan, of: number): Term[] {
  const counted = (name: string, value: string): Term => ({ name, value, counts: true });
  const told = (name: string, value: string): Term => ({ name, value, counts: false });
  const { published } = source.folder;
  const weights = inputs.filter(({ role }) => role === "weights");
  const descriptions = inputs.filter(({ role }) => role === "description");
  const moves = mappings.map(({ from, to, tensors }) => [
    from.name,
    to.name,
    [...tensors.values()].map(({ move, sources }) => [move.rule, sources]),
  ]);
  return [
    counted("number of parts", `${of}`),
    counted("version", VERSION),
    // A commit of the Hub is known wherever it is read; a path says nothing on another machine.
    published === undefined ? told("source", source.path) : counted("source", published.address),
    ...Object.entries(asked).map(([name, value]) => told(name, value)),
    counted("source's commit", commitOf(source).commit ?? "none"),
    counted("source's files", sha256(weights.map((file) => [file.name, sizeOf(file)]))),
    counted("source's config, index and metadata", sha256(descriptions.map((file) => [file.name, digestOf(file)]))),
    counted("source's headers", headerDigest(source)),
    counted("source's values", sampleOf(source)),
    counted("mapping of tensors", sha256(moves)),
    counted("format", target.format),
    counted("files of the target", filesDigest(files, recordText())),
  ];
}

const sha256 = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("hex");

function sizeOf({ folder, name }: ConversionPlan["inputs"][number]): number {
  const file = folder.open(name);
  try {
    return file.byteLength;
  } finally {
    file.close();
  }
}

/** Places that are looked into, and bytes at each: all of a model of 4 MB, some milliseconds of a larger one. */
const SAMPLES = 1024;
const SAMPLE_BYTES = 4096;
/** Of what the Hub keeps: its commit tells what it is, and each place costs a request. */
const PUBLISHED_SAMPLES = 16;

/** Two steps of one training have the same headers, and hardly a value in common; a layer alone may have been changed. */
function sampleOf(source: Checkpoint): string {
  const hash = createHash("sha256");
  const samples = source.folder.published === undefined ? SAMPLES : PUBLISHED_SAMPLES;
  for (const rank of source.ranks ?? [source]) {
    const tensors = [...rank.tensors.values()].filter(({ byteLength }) => byteLength > 0);
    const step = Math.max(1, tensors.length / samples);
    const places = Math.max(1, Math.floor(samples / Math.max(1, tensors.length)));
    for (let i = 0; i < tensors.length; i += step) {
      const { key, byteLength } = tensors[Math.floor(i)]!;
      for (const [begin, end] of windows(byteLength, places)) {
        const bytes = new Uint8Array(end - begin);
        headersOnly(() => rank.read(key, begin, bytes));
        hash.update(bytes);
      }
    }
  }
  return hash.digest("hex");
}

/** Spread over a tensor from its first byte to its last, at elements' begins; its middle, where there is one place alone. */
function* windows(byteLength: number, most: number): Generator<readonly [begin: number, end: number]> {
  const last = Math.max(0, byteLength - SAMPLE_BYTES);
  const count = Math.min(most, Math.ceil(byteLength / SAMPLE_BYTES));
  for (let i = 0; i < count; i += 1) {
    const begin = Math.floor((last * (count === 1 ? 0.5 : i / (count - 1))) / 8) * 8;
    yield [begin, i === count - 1 && count > 1 ? byteLength : Math.min(byteLength, begin + SAMPLE_BYTES)];
  }
}

/** Copies are told by their sizes. */
function filesDigest(files: readonly OutputFile[], recordText: string | null): string {
  const hash = createHash("sha256").update(JSON.stringify(recordText));
  for (const { name, byteLength, parts } of files) {
    hash.update(JSON.stringify([name, byteLength, parts.length]));
    for (const part of parts) {
      if (part.kind === "bytes") hash.update(part.bytes);
      else if (part.kind === "tensor") hash.update(JSON.stringify([part.key, part.begin, part.end, part.sum ?? null]));
      else hash.update(JSON.stringify([part.kind, lengthOf(part)]));
    }
  }
  return hash.digest("hex");
}
