// Cases under fixtures/, as fixtures/manifest.json lists them.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { adapters } from "../../adapters/registry.ts";
import type { Adapter } from "../../src/family/adapter.ts";
import { graphsOf } from "../../src/family/layout.ts";
import type { Acceptance } from "../../src/parity/choices.ts";

export const FIXTURES = fileURLToPath(new URL("../../fixtures/", import.meta.url));

export interface FixtureFile {
  /** Relative to fixtures/. */
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface TensorHash {
  /** As safetensors spells it. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Of the row-major little-endian bytes. */
  readonly sha256: string;
}

export interface FixtureCase {
  /** `<family>/<case>`, also the folder under fixtures/. */
  readonly name: string;
  readonly family: string;
  /** Native layout of `native` and of its sharded variants. */
  readonly layout: string;
  /** As safetensors spells it; several joined by commas where upstream mixes them. */
  readonly dtype: string;
  readonly tied: boolean;
  readonly vocab: number;
  readonly tokens: number;
  /** DCP folders that hold the same weights, by how they were saved: `native` is one rank. */
  readonly natives: Readonly<Record<string, string>>;
  /** Hugging Face folders that hold the same weights, by how they were saved; `hf` is plain save_pretrained. */
  readonly hfs: Readonly<Record<string, string>>;
  /** The same model without its vision tower, where it was saved so. */
  readonly textNatives: Readonly<Record<string, string>>;
  readonly textHfs: Readonly<Record<string, string>>;
  readonly native: string;
  readonly hf: string;
  /** input_ids I64 [T], logits F32 [T,V] of transformers, computed in f64. */
  readonly golden: string;
  /** The same from torchtitan's own model, where it was kept. */
  readonly nativeGolden: string | null;
  /** The images of a model that sees, with the same input_ids; as `--inputs` takes them. */
  readonly inputs: string | null;
  /** Where torchtitan's own model differs from transformers', by the code of the generator. */
  readonly knownDifferences: readonly string[];
  /** What torchtitan's to_hf makes of `native`. */
  readonly toHf: ReadonlyMap<string, TensorHash>;
  /** What torchtitan's from_hf makes of `hf`. */
  readonly fromHf: ReadonlyMap<string, TensorHash>;
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${what} is no object`);
  return Object.fromEntries(Object.entries(value));
}

function text(value: unknown, what: string): string {
  if (typeof value !== "string") throw new Error(`${what} is no string`);
  return value;
}

function count(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw new Error(`${what} is no integer`);
  return value;
}

function json(path: string): unknown {
  return JSON.parse(readFileSync(path, "utf8"));
}

const manifest = record(json(`${FIXTURES}manifest.json`), "manifest");

export const fixtureFiles: readonly FixtureFile[] = Object.entries(record(manifest.files, "files")).map(
  ([name, entry]) => {
    const { bytes, sha256 } = record(entry, name);
    return { name, bytes: count(bytes, name), sha256: text(sha256, name) };
  },
);

function hashes(path: string): ReadonlyMap<string, TensorHash> {
  const tensors = Object.entries(record(json(path), path));
  return new Map(
    tensors.map(([key, value]) => {
      const { dtype, shape, sha256 } = record(value, key);
      if (!Array.isArray(shape)) throw new Error(`${path}: shape of ${key}`);
      return [key, { dtype: text(dtype, key), shape: shape.map((n) => count(n, key)), sha256: text(sha256, key) }];
    }),
  );
}

function folders(home: string, value: unknown, isMeant: (folder: string) => boolean): Readonly<Record<string, string>> {
  if (!Array.isArray(value)) throw new Error(`${home}: folders`);
  const names = value.map((name) => text(name, home)).filter(isMeant);
  return Object.fromEntries(names.map((name) => [name, `${home}/${name}`]));
}

/** Whether the folder holds the text model alone. */
export const isTextAlone = (folder: string): boolean => folder.endsWith("-text");

function codes(value: unknown, name: string): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`${name}: knownDifferences`);
  return value.map((entry) => text(record(entry, name).code, name));
}

function parseCase(name: string, value: unknown): FixtureCase {
  const entry = record(value, name);
  const home = `${FIXTURES}${name}`;
  const nativeGolden = `${home}/native-golden.safetensors`;
  return {
    name,
    family: text(entry.family, name),
    layout: text(entry.layout, name),
    dtype: text(entry.dtype, name),
    tied: entry.tied === true,
    vocab: count(entry.vocab, name),
    tokens: count(entry.tokens, name),
    natives: folders(home, entry.natives, (folder) => !isTextAlone(folder)),
    hfs: folders(home, entry.hfs, (folder) => !isTextAlone(folder)),
    textNatives: folders(home, entry.natives, isTextAlone),
    textHfs: folders(home, entry.hfs, isTextAlone),
    native: `${home}/native`,
    hf: `${home}/hf`,
    golden: `${home}/golden.safetensors`,
    nativeGolden: existsSync(nativeGolden) ? nativeGolden : null,
    inputs: existsSync(`${home}/inputs.safetensors`) ? `${home}/inputs.safetensors` : null,
    knownDifferences: codes(entry.knownDifferences, name),
    toHf: hashes(`${home}/to_hf.sha256.json`),
    fromHf: hashes(`${home}/from_hf.sha256.json`),
  };
}

const casesOf = (families: readonly Adapter[]): readonly FixtureCase[] =>
  Object.entries(record(manifest.cases, "cases"))
    .filter(([name, entry]) => families.some(({ family }) => family === record(entry, name).family))
    .map(([name, entry]) => parseCase(name, entry));

/** Whether the Hugging Face files hold codes and scales, which are no tensors of a table. */
const isEncoded = ({ hf }: FixtureCase): boolean =>
  record(json(`${hf}/config.json`), hf).quantization_config !== undefined;

/** Cases of the families that have a table, apart from quantised ones. */
export const tableCases = casesOf(adapters).filter((one) => !isEncoded(one));

/** Those that are quantised. */
export const encodedCases = casesOf(adapters).filter(isEncoded);

/** Cases of the families that can also be run forward, quantised ones among them. */
export const fixtureCases = casesOf(adapters.filter((adapter) => graphsOf(adapter).length === 2));

const foldersOf = ({ natives, hfs }: FixtureCase): number => Object.keys(natives).length + Object.keys(hfs).length;

/**
 * One case a family, the one in the most kinds of files, of torchtitan where it has the family, and those that are quantised:
 * what the built command is tried on. All others are tried in process.
 */
export const commandCases: readonly FixtureCase[] = fixtureCases.filter((one) => {
  const family = fixtureCases.filter((other) => other.family === one.family && !isEncoded(other));
  const torchtitan = family.filter(({ layout }) => layout.startsWith("torchtitan"));
  const tried = torchtitan.length > 0 ? torchtitan : family;
  const most = Math.max(...tried.map(foldersOf));
  return isEncoded(one) || one === tried.find((other) => foldersOf(other) === most);
});

/** The case of that name; throws if there is none. */
export function fixture(name: string): FixtureCase {
  const found = tableCases.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no fixture ${name}`);
  return found;
}

/** Acceptance of all that a family's upstreams are known to compute otherwise. */
export const everyKnown = (family: string): Acceptance[] =>
  (adapters.find((each) => each.family === family)?.known ?? []).map(({ code }) => ({ code }));

/** The same as options of the command. */
export const acceptEvery = (family: string): string[] => everyKnown(family).map(({ code }) => `--accept-known=${code}`);
