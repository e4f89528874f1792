// What the documents of a conversion's parts tell beside ranges of files: what its report says of the whole, what each tensor is
// whose hash makes up the root, and what each part found.
import { DTYPES, type Dtype } from "../../base/dtype.ts";
import { type JsonFault, JsonReader } from "../../base/json.ts";
import { FORMATS, type Format, type MergedPiece } from "../../formats/checkpoint.ts";
import type { Outline, PartDocument } from "../../output/parts/documents.ts";
import type { CastStats } from "../../views/cast.ts";
import type { Conversion } from "../convert.ts";
import type { Cast } from "../plan.ts";
import { type MergedReport, mergedIn, pieceIn } from "./merged.ts";
import type { Leaf, SealOutline } from "./seal-share.ts";

export type Report = Pick<
  Conversion,
  | "family"
  | "from"
  | "to"
  | "tensors"
  | "sourceTensors"
  | "bytes"
  | "ties"
  | "dropped"
  | "waived"
  | "kept"
  | "leftBehind"
  | "notes"
> & {
  /** With the number of elements of each. */
  readonly casts: readonly (Cast & { readonly elements: number })[];
  /** What was merged into the source; null where nothing was. */
  readonly merged: MergedReport | null;
  readonly encoding: string | null;
  /** The target's config; null where it has none. */
  readonly config: { readonly name: string; readonly text: string; readonly mathematics: string | null } | null;
};

export interface OutlineAbout {
  readonly report: Report;
  readonly seal: SealOutline | null;
  /** The record's name and its text, but for what the target turns out to be; null where it needs none of that. */
  readonly record: { readonly name: string; readonly text: string } | null;
}

export interface PartCast extends CastStats {
  readonly key: string;
}

export interface PartAbout {
  /** Bytes that this part wrote. */
  readonly bytes: number;
  readonly seconds: number;
  readonly peakRamBytes: number;
  /** Whether the disk had everything. */
  readonly durable: boolean;
  /** Whether an earlier attempt wrote some of it: casts are known in part then. */
  readonly isContinued: boolean;
  /** SHA-256 by number of the leaf. */
  readonly hashes: readonly (readonly [number: number, sha256: string])[];
  readonly casts: readonly PartCast[];
  /** What was merged into the tensors that this part read. */
  readonly merged: readonly MergedPiece[];
  /** Groups with the scales that they had, and with canonical ones; null of a plain target. */
  readonly encoding: { readonly kept: number; readonly canonical: number } | null;
  readonly notChecked: string | null;
}

export const outlineAboutOf = ({ about }: Outline, damaged: (fault: JsonFault) => Error): OutlineAbout =>
  outlineAbout(new JsonReader(about, damaged));

const outlineAbout = (about: JsonReader): OutlineAbout => ({
  report: reportIn(about.field("report")),
  seal: about.field("seal").nullable((seal) => ({
    config: seal.field("config").nullable((config) => config.text()),
    dtypes: seal.field("dtypes").list().map(dtypeOf),
    target: seal.field("target").list().map(leafIn),
    rounded: seal.field("rounded").nullable((leaves) => leaves.list().map(leafIn)),
  })),
  record: about
    .field("record")
    .nullable((record) => ({ name: record.field("name").text(), text: record.field("text").text() })),
});

/** Leaves as they are written: many of them. */
export const leafJson = ({ name, dtype, shape }: Leaf): unknown => [name, dtype, shape];

function leafIn(leaf: JsonReader): Leaf {
  const [name, dtype, shape] = leaf.list();
  if (name === undefined || dtype === undefined || shape === undefined)
    return leaf.fail("name, type and shape of a tensor");
  return { name: name.text(), dtype: dtypeOf(dtype), shape: shape.list().map((size) => size.size()) };
}

function reportIn(report: JsonReader): Report {
  const texts = (name: string): string[] =>
    report
      .field(name)
      .list()
      .map((each) => each.text());
  const size = (name: string): number => report.field(name).size();
  const rows = <T>(name: string, row: (reader: JsonReader) => T): T[] => report.field(name).list().map(row);
  const text = (row: JsonReader, name: string): string => row.field(name).text();
  return {
    family: report.field("family").nullable((family) => family.text()),
    from: placeIn(report.field("from")),
    to: placeIn(report.field("to")),
    tensors: size("tensors"),
    sourceTensors: size("sourceTensors"),
    bytes: size("bytes"),
    ties: rows("ties", (row) => ({ alias: text(row, "alias"), of: text(row, "of") })),
    dropped: rows("dropped", (row) => ({ key: text(row, "key"), reason: text(row, "reason") })),
    waived: texts("waived"),
    kept: rows("kept", (row) => ({
      key: text(row, "key"),
      dtype: dtypeOf(row.field("dtype")),
      reason: text(row, "reason"),
    })),
    casts: rows("casts", (row) => ({
      key: text(row, "key"),
      from: dtypeOf(row.field("from")),
      to: dtypeOf(row.field("to")),
      elements: row.field("elements").size(),
    })),
    merged: report.field("merged").nullable(mergedIn),
    leftBehind: texts("leftBehind"),
    notes: texts("notes"),
    encoding: report.field("encoding").nullable((name) => name.text()),
    config: report.field("config").nullable((config) => ({
      name: text(config, "name"),
      text: text(config, "text"),
      mathematics: config.field("mathematics").nullable((hash) => hash.text()),
    })),
  };
}

function placeIn(place: JsonReader): Conversion["from"] {
  const format: Format = place.field("format").oneOf(FORMATS, "format");
  const commit = place.optional("commit")?.text();
  const text = { path: place.field("path").text(), layout: place.field("layout").text() };
  return { ...text, format, ...(commit === undefined ? {} : { commit }) };
}

/** What a document tells. @param damaged the error for what is no such thing */
export const partAboutOf = ({ about }: PartDocument, damaged: (fault: JsonFault) => Error): PartAbout =>
  partAbout(new JsonReader(about, damaged));

const partAbout = (about: JsonReader): PartAbout => ({
  bytes: about.field("bytes").size(),
  seconds: about.field("seconds").number(),
  peakRamBytes: about.field("peakRamBytes").size(),
  durable: about.field("durable").boolean(),
  isContinued: about.field("isContinued").boolean(),
  hashes: about
    .field("hashes")
    .list()
    .map((hash) => {
      const [number, sha256] = hash.list();
      if (number === undefined || sha256 === undefined) return hash.fail("number and hash of a tensor");
      return [number.size(), sha256.text()] as const;
    }),
  casts: about
    .field("casts")
    .list()
    .map((cast) => ({
      key: cast.field("key").text(),
      elements: cast.field("elements").size(),
      maxRelativeError: cast.field("maxRelativeError").number(),
      overflows: cast.field("overflows").size(),
      vanished: cast.field("vanished").size(),
      remains: cast.field("remains").boolean(),
    })),
  merged: about.field("merged").list().map(pieceIn),
  encoding: about
    .field("encoding")
    .nullable((counts) => ({ kept: counts.field("kept").size(), canonical: counts.field("canonical").size() })),
  notChecked: about.field("notChecked").nullable((text) => text.text()),
});

const dtypeOf = (reader: JsonReader): Dtype => reader.oneOf(DTYPES, "element type");
