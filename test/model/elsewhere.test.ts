// A checkpoint in a folder that is on no disk, as in a repository of the Hub: every command reads it, and all that lies
// beside it, through that folder alone.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { qwen2VlImageProcessor } from "../../adapters/common/qwen-image-processor.ts";
import { adapters } from "../../adapters/registry.ts";
import { convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { locate, type PathOrLocation } from "../../src/formats/io/disk-folder.ts";
import type { Location } from "../../src/formats/io/folder.ts";
import { type ModelOptions, openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { readSteps } from "../../src/parity/images/steps.ts";
import { resolveInputs } from "../../src/parity/inputs/read.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { validate } from "../../src/verify/validate.ts";
import { converted } from "../helpers/converted.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { type Files, filesBelow, MemoryFolder } from "../helpers/memory-folder.ts";
import { fixtureCase } from "../helpers/models.ts";
import { scratch } from "../helpers/scratch.ts";

const NOWHERE = "repo://owner/model";
const side: ModelOptions = { adapters };

async function using<T>(at: PathOrLocation, use: (checkpoint: Checkpoint) => T | Promise<T>): Promise<T> {
  const checkpoint = openCheckpoint(at);
  try {
    return await use(checkpoint);
  } finally {
    checkpoint.close();
  }
}

describe.each(["llama3/bf16", "deepseek_v3/fp8"])(
  "%s, native and sharded, with config, tokenizer and record",
  (name) => {
    let folder: string;
    let hf: string;
    let disk: string;
    let files: Files;
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "convert-checkpoint-test-"));
      [hf, disk] = [join(folder, "hf"), join(folder, "native")];
      mkdirSync(hf);
      for (const [file, bytes] of filesBelow(fixtureCase(name).hf)) writeFileSync(join(hf, file), bytes);
      writeFileSync(join(hf, "tokenizer.json"), '{"model":{}}');
      await converted(hf, disk, { format: "safetensors", maxShardSize: 20_000 });
      files = filesBelow(disk);
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    it("is what it is on disk to inspect", () => {
      expect([...files.keys()].filter((file) => file.endsWith(".safetensors")).length).toBeGreaterThan(3);
      const { path, config, ...found } = inspect(openCheckpoint(new MemoryFolder(NOWHERE, files).at()), side);
      expect({ path, config }).toEqual({ path: NOWHERE, config: `${NOWHERE}/config.json` });
      expect({ ...found, path: disk, config: join(disk, "config.json") }).toEqual(inspect(openCheckpoint(disk), side));
    });

    it("goes back to the original files, byte for byte", async () => {
      const folder = new MemoryFolder(NOWHERE, files);
      const target = join(scratch(), "back");
      await using(folder.at(), async (checkpoint) => {
        const plan = planConversion(checkpoint, target, side);
        expect(plan.files.map((file) => file.name)).toEqual(expect.arrayContaining(["config.json", "tokenizer.json"]));
        await convert(plan, { fsync: false });
      });
      expect(filesBelow(target)).toEqual(filesBelow(hf));
      expect(folder.opened.size).toBe(0);
    });

    it("is equal to the one on disk, valid, and comes back", async () => {
      const folder = new MemoryFolder(NOWHERE, files);
      await using(folder.at(), async (checkpoint) => {
        await using(hf, async (other) => {
          expect(await diff(checkpoint, other, { a: side, b: side })).toMatchObject({ verdict: "pass", keys: "hf" });
        });
        const resolved = openModel(checkpoint, side);
        expect(await validate(resolved)).toMatchObject({ verdict: "pass", path: NOWHERE });
        const trip = await roundtrip(resolved);
        expect(trip).toMatchObject({ verdict: "pass", differences: [] });
        expect(trip.files.every(({ same }) => same)).toBe(true);
      });
      expect(folder.opened.size).toBe(0);
    });

    it("takes a config from another such folder", async () => {
      const bare = new Map([...files].filter(([file]) => file !== "config.json"));
      const configs = new MemoryFolder("repo://owner/configs", new Map([["config.json", files.get("config.json")!]]));
      for (const config of [configs.at(), configs.at("config.json")]) {
        await using(new MemoryFolder(NOWHERE, bare).at(), (checkpoint) => {
          const { path } = openModel(checkpoint, { ...side, config }).stored.config;
          expect(path).toBe("repo://owner/configs/config.json");
        });
      }
    });
  },
);

/** A folder, or one file, of each format. */
const FORMATS = [
  "safetensors/sharded",
  "safetensors/dtypes.safetensors",
  "dcp/fsdp-tp/ckpt",
  "dcp/no-collectives/ckpt",
  "dcp/pt-zip/file.pt",
  "dcp/pt-legacy/file.pt",
  "meta/llama3",
].map((name) => FIXTURES + name);

/** All that a checkpoint says and holds. */
function contentsOf(checkpoint: Checkpoint) {
  const { tensors, files, format, others, ranks } = checkpoint;
  const bytes = (ranks ?? [checkpoint]).map((each) =>
    [...each.tensors.values()].map(({ key, byteLength }) => {
      const target = Buffer.alloc(byteLength);
      each.read(key, 0, target);
      return target;
    }),
  );
  checkpoint.verify();
  return { tensors, files, format, others, bytes };
}

describe("a container of any format", () => {
  it.each(FORMATS)("is read as on disk: %s", async (path) => {
    const { folder, file } = locate(path);
    const memory = new MemoryFolder(NOWHERE, filesBelow(folder.path));
    const onDisk = await using(path, contentsOf);
    expect(await using(memory.at(file), contentsOf)).toEqual(onDisk);
    expect(onDisk.files.every((name) => folder.kind(name) === "file")).toBe(true);
    expect(memory.opened.size).toBe(0);
  });

  it("is named by what lies beside it, and by what is missing", () => {
    const sub = new MemoryFolder(NOWHERE, new Map([["step-1/model.safetensors", new Uint8Array()]]));
    expect(() => openCheckpoint(sub.at())).toThrow(
      expect.objectContaining({
        code: "NOT_A_CHECKPOINT",
        details: expect.objectContaining({ help: expect.stringContaining(`did you mean ${NOWHERE}/step-1?`) }),
      }),
    );
    for (const file of ["none.pt", "none.safetensors"]) {
      expect(() => openCheckpoint(sub.at(file))).toThrow(expect.objectContaining({ code: "NOT_FOUND", exitCode: 3 }));
    }
  });
});

/** What a read asks of a folder that does not have it yet. */
class Absent extends Error {
  constructor(
    readonly file: string,
    readonly begin: number,
    readonly end: number,
  ) {
    super("fetch it, and ask again");
  }
}

/** Ranges are fetched rounded up to so many bytes. */
const FETCH_BYTES = 1 << 9;

/**
 * A folder whose bytes come from afar before anything is opened, as of the Hub: reading is synchronous, so what opening
 * asks for and is not there is fetched, and opening begins again. Nothing of it needs to be asynchronous but this.
 */
async function openFetching(files: Files, file: string | null) {
  const pages = new Set<string>();
  const folder = new MemoryFolder(NOWHERE, files, (name, begin, end) => {
    for (let at = begin - (begin % FETCH_BYTES); at < end; at += FETCH_BYTES)
      if (!pages.has(`${name}:${at}`)) throw new Absent(name, begin, end);
  });
  for (;;) {
    try {
      const checkpoint = openCheckpoint(folder.at(file));
      return { checkpoint, pages: pages.size, folder };
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
      await Promise.resolve(); // the fetch
      for (let at = error.begin - (error.begin % FETCH_BYTES); at < error.end; at += FETCH_BYTES)
        pages.add(`${error.file}:${at}`);
    }
  }
}

/** With weights that are larger than what tells of them, by the part of all bytes that headers and their pages are. */
const WEIGHTS = [
  [fixtureCase("deepseek_v3/fp8").hf, 0.1],
  [fixtureCase("deepseek_v3/fp8").native, 0.1],
  [`${FIXTURES}meta/llama3`, 0.3],
] as const;

it.each(WEIGHTS)("opening asks for headers alone, and may be begun again: %s", async (path, share) => {
  const { folder, file } = locate(path);
  const files = filesBelow(folder.path);
  const { checkpoint, pages, folder: memory } = await openFetching(files, file);
  const onDisk = await using(path, ({ tensors }) => tensors);
  expect(checkpoint.tensors).toEqual(onDisk);
  const all = checkpoint.files.reduce((sum, name) => sum + Math.ceil(files.get(name)!.length / FETCH_BYTES), 0);
  expect(pages).toBeLessThan(share * all);
  checkpoint.close();
  expect(memory.opened.size).toBe(0);
});

it("tokenizer, chat template and image processor are read through their folder", async () => {
  const home = `${FIXTURES}images/qwen2_vl`;
  const [disk, memory] = [locate(home), new MemoryFolder(NOWHERE, filesBelow(home)).at()];
  const limits = { vocabSize: 1000, maxPositions: 4096 };
  const ask = (tokenizer: PathOrLocation) =>
    resolveInputs({ kind: "prompt", text: "What is this?", tokenizer, chat: true }, limits);
  const { ids_T } = (await ask(disk)).input;
  expect(ids_T.length).toBeGreaterThan(5);
  expect((await ask(memory)).input.ids_T).toEqual(ids_T);
  const steps = ({ folder }: Location) => readSteps([folder], qwen2VlImageProcessor);
  expect(steps(memory).file).toBe(`${NOWHERE}/preprocessor_config.json`);
  expect(JSON.stringify(steps(memory).steps)).toBe(JSON.stringify(steps(disk).steps));
});
