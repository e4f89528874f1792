// The header of a run's reports: what was called, and what was read.
import { isAbsolute, relative } from "node:path";
import { isAddress, wholePath } from "../../base/addresses.ts";
import { VERSION } from "../../base/version.ts";
import { type SeenConfig, type SeenFile, Witness, witnessed } from "../../base/witness.ts";
import { FileHasher } from "../../formats/io/file-hasher.ts";
import type { FileRead, Header, HeaderConfig } from "../../report/header.ts";
import type { Arguments } from "../arguments.ts";
import { NAME } from "../usage.ts";

/** A share of a file with tensors that makes it worth hashing: a scale that a plan looks at is less. */
const WORTH_SHARE = 1 / 16;
/** Files below are hashed whatever was read of them. */
const SMALL_BYTES = 1 << 24;

/** Options that name what a model is run on. */
const INPUTS = ["ids", "prompt", "prompts", "inputs", "image", "golden", "tokenizer"] as const;

export class Evidence {
  private readonly hasher = new FileHasher();
  private readonly witness: Witness;
  private readonly time = new Date().toISOString();

  /** @param isAskedFor whether a document is: nobody else is told of hashes. A gate file may ask for one after it was read */
  constructor(
    private readonly argv: readonly string[],
    private readonly isAskedFor: () => boolean,
  ) {
    this.witness = new Witness((file) => {
      if (this.isAskedFor() && isWorthHashing(file)) this.hasher.hash(file);
    });
  }

  /** What `run` reads is noted, however deep the call. */
  gather<T>(run: () => T): T {
    return witnessed(this.witness, run);
  }

  /**
   * Once the run has come to an end.
   * @param sides names of the arguments that may be checkpoints
   * @param wait whether for hashes that are not there yet; of a run that failed they come to nothing
   */
  async header(args: Arguments | null, sides: readonly string[], wait: boolean): Promise<Header> {
    const files = [...this.witness.files.values()].filter(({ readBytes, bytes }) => readBytes > 0 || bytes === 0);
    if (this.isAskedFor()) for (const file of files) if (isHashedLate(file)) this.hasher.hash(file);
    await (wait ? this.hasher.finish() : this.hasher.stop());
    const read = files.map(readOf).toSorted((a, b) => (a.path < b.path ? -1 : 1));
    return {
      tool: NAME,
      version: VERSION,
      command: commandLine(this.argv),
      time: this.time,
      host: { node: process.version, platform: `${process.platform} ${process.arch}` },
      inputs: args === null ? null : inputsOf(args, read),
      files: read,
      configs: args === null ? {} : configsOf(args, sides, this.witness.configs),
    };
  }
}

const isWorthHashing = ({ bytes, contentBytes }: SeenFile): boolean => contentBytes > bytes * WORTH_SHARE;

const isHashedLate = (file: SeenFile): boolean =>
  isWorthHashing(file) || (file.bytes <= SMALL_BYTES && !isOnlyHeader(file));

/** What describes the files beside it stays open, too, and is read from end to end. */
const isOnlyHeader = ({ isTensors, contentBytes, readBytes, bytes }: SeenFile): boolean =>
  isTensors && contentBytes === 0 && readBytes < bytes;

function readOf(file: SeenFile): FileRead {
  const { path, bytes, sha256, hasChanged, commit } = file;
  const read = isOnlyHeader(file) ? "header" : "content";
  const about = { path, ...(commit === null ? {} : { commit }), bytes };
  if (hasChanged) return { ...about, sha256: null, read, unhashed: "it changed while it was read" };
  if (read === "header") return { ...about, sha256: null, read };
  if (sha256 !== null) return { ...about, sha256, read };
  return { ...about, sha256: null, read, unhashed: "too little of it was read, or the run ended before" };
}

function inputsOf(args: Arguments, read: readonly FileRead[]): Header["inputs"] {
  const files = INPUTS.flatMap((option) =>
    args.list(option).flatMap((value) => {
      const place = wholePath(option === "prompt" ? value.replace(/^@/, "") : value);
      return read.filter(({ path }) => isWithin(path, place)).map((file) => ({ option: `--${option}`, ...file }));
    }),
  );
  return files.length === 0 ? null : { files };
}

const isWithin = (path: string, place: string): boolean => {
  if (isAddress(place)) return path === place || path.startsWith(`${place}/`);
  const way = relative(place, path);
  return !way.startsWith("..") && !isAbsolute(way);
};

/** By the names of the arguments; a checkpoint that no argument names, by its path. */
function configsOf(args: Arguments, sides: readonly string[], seen: readonly SeenConfig[]): Header["configs"] {
  const named = sides.flatMap((side) => args.list(side).map((path) => ({ side, path })));
  const configs: Record<string, HeaderConfig> = {};
  const taken = new Set<SeenConfig>();
  for (const { side, path } of named) {
    const own = seen.filter(({ of }) => of === path);
    // Both sides of a pair may be one checkpoint, read by two configs.
    const config = own.find((each) => !taken.has(each)) ?? own[0];
    if (config === undefined) continue;
    taken.add(config);
    configs[side] = configIn(config);
  }
  for (const config of seen) if (!named.some(({ path }) => path === config.of)) configs[config.of] ??= configIn(config);
  return configs;
}

const configIn = ({ path, sha256, mathematics }: SeenConfig): HeaderConfig => ({
  path: wholePath(path),
  sha256,
  mathematics: mathematics?.() ?? null,
});

/** As a POSIX shell takes it. */
export const commandLine = (argv: readonly string[]): string => [NAME, ...argv].map(quoted).join(" ");

const quoted = (word: string): string => (/^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
