// What is fuzzed: each parser of files that come from others, with good inputs that real writers made.
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { adapters } from "../../adapters/registry.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { openDcp } from "../../src/formats/dcp/open.ts";
import { openTorchFile } from "../../src/formats/pt/open.ts";
import { openSafetensors } from "../../src/formats/safetensors/open.ts";
import { openZip, readRecord } from "../../src/formats/zip/reader.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { parseRecord } from "../../src/model/record.ts";
import { JOURNAL_NAME, readJournal } from "../../src/output/journal.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { type Files, filesBelow, MemoryFolder } from "../helpers/memory-folder.ts";
import { type Mutation, ON_BYTES, ON_JSON, ON_PICKLES } from "./mutate.ts";
import { storedZip } from "./zip.ts";

export interface Parser {
  readonly name: string;
  readonly good: readonly Buffer[];
  readonly mutations: readonly Mutation[];
  /** Reads it as a run would. What is thrown on purpose is a ConvertCheckpointError. */
  read(bytes: Buffer): void;
}

const FIXTURES = "fixtures/";
const CORPUS = "test/fuzz/corpus/";

/** Made when it is asked for: each parser reads its own fixtures only. */
export const PARSERS: Readonly<Record<string, () => Parser>> = {
  safetensors,
  index,
  dcp,
  pickle,
  ranks,
  zip,
  config,
  record,
  journal,
};

function closing(checkpoint: Checkpoint): void {
  checkpoint.close();
}

const inMemory = (files: Files) => new MemoryFolder("memory", files);
const fixture = (path: string): Map<string, Uint8Array> => filesBelow(`${FIXTURES}${path}`);
const withFile = (files: Files, name: string, bytes: Uint8Array): Files => new Map([...files, [name, bytes]]);

function safetensors(): Parser {
  const files = ["llama3/split/hf", "qwen3_moe/untied/hf", "gpt_oss/mxfp4/hf"].map((path) =>
    readFileSync(`${FIXTURES}${path}/model.safetensors`),
  );
  const headers = files.map((file) => file.subarray(8, 8 + file.readUInt32LE()));
  const data = Math.max(...files.map((file, i) => file.length - 8 - headers[i]!.length));
  const zeros = Buffer.alloc(data);
  return {
    name: "safetensors",
    good: headers,
    mutations: [...ON_BYTES, ...ON_JSON, ...ON_JSON],
    // The header's length is right and the data as long as its offsets say, so that its content is what is looked at.
    read(header) {
      const length = Buffer.alloc(8);
      length.writeUInt32LE(header.length);
      const ends = [...header.toString("latin1").matchAll(/"data_offsets":\[\d+,(\d{1,7})\]/g)].map(([, end]) =>
        Number(end),
      );
      const bytes = Math.min(
        data,
        ends.reduce((most, end) => Math.max(most, end), 0),
      );
      const file = Buffer.concat([length, header, zeros.subarray(0, bytes)]);
      closing(openSafetensors(inMemory(new Map([["model.safetensors", file]])).at("model.safetensors")));
    },
  };
}

function index(): Parser {
  const sets = ["llama3/split/hf-sharded", "qwen3/bf16/hf-sharded", "safetensors/sharded"].map(fixture);
  const name = "model.safetensors.index.json";
  const good = sets.map((files) => Buffer.from(files.get(name)!));
  return {
    name: "index",
    good,
    mutations: [...ON_BYTES, ...ON_JSON, ...ON_JSON],
    read(bytes) {
      closing(openSafetensors(inMemory(withFile(sets[0]!, name, bytes)).at(name)));
    },
  };
}

function dcp(): Parser {
  const sets = ["grid", "fsdp-tp", "strided"].map((name) => fixture(`dcp/${name}/ckpt`));
  return {
    name: "dcp",
    good: sets.map((files) => Buffer.from(files.get(".metadata")!)),
    mutations: [...ON_BYTES, ...ON_PICKLES],
    read: (bytes) => closing(openDcp(inMemory(withFile(sets[0]!, ".metadata", bytes)))),
  };
}

const TORCH_FILES = ["pt-shared", "pt-protocol-4", "pt-ordered", "pt-legacy"] as const;
const torchFile = (name: string): Buffer => readFileSync(`${FIXTURES}dcp/${name}/file.pt`);

function pickle(): Parser {
  const archives = TORCH_FILES.slice(0, 3).map((name) => recordsOf(torchFile(name)));
  const nameOf = (records: Files) => [...records.keys()].find((each) => each.endsWith("/data.pkl"))!;
  const [first] = archives;
  return {
    name: "pickle",
    good: archives.map((records) => Buffer.from(records.get(nameOf(records))!)),
    mutations: [...ON_BYTES, ...ON_PICKLES],
    read(bytes) {
      const file = storedZip(withFile(first!, nameOf(first!), bytes));
      closing(openTorchFile(inMemory(new Map([["model.pt", file]])).at("model.pt")));
    },
  };
}

/** One rank's pickle, beside the files of the others. */
function ranks(): Parser {
  const files = fixture("ranks/fsdp2-tp");
  const name = "model_world_size_4_rank_1.pt";
  const records = recordsOf(Buffer.from(files.get(name)!));
  const pickled = [...records.keys()].find((each) => each.endsWith("/data.pkl"))!;
  return {
    name: "ranks",
    good: [Buffer.from(records.get(pickled)!)],
    mutations: [...ON_BYTES, ...ON_PICKLES],
    read: (bytes) =>
      closing(openCheckpoint(inMemory(withFile(files, name, storedZip(withFile(records, pickled, bytes)))).at())),
  };
}

function recordsOf(bytes: Buffer): Files {
  const read = (position: number, target: Uint8Array) => {
    target.set(bytes.subarray(position, position + target.length));
  };
  const archive = openZip({ name: "file.pt", byteLength: bytes.length, read }, { file: "file.pt" });
  return new Map([...archive.records].map(([name, each]) => [name, readRecord(archive, each, bytes.length)]));
}

function zip(): Parser {
  return {
    name: "zip",
    good: TORCH_FILES.map(torchFile),
    mutations: ON_BYTES,
    read: (bytes) => closing(openTorchFile(inMemory(new Map([["model.pt", bytes]])).at("model.pt"))),
  };
}

/** The config of one family beside the tensors of another is no rarity: what is at hand decides, not what it says. */
function config(): Parser {
  const sets = ["llama3/split/hf", "qwen3_moe/untied/hf"].map(fixture);
  const others = ["gpt_oss/mxfp4/hf", "qwen3/bf16/hf-sharded", "deepseek_v3/fp8/hf"].map(fixture);
  return {
    name: "config",
    good: [...sets, ...others].map((files) => Buffer.from(files.get("config.json")!)),
    mutations: [...ON_JSON, ...ON_JSON, ...ON_BYTES],
    read(bytes) {
      const files = sets[bytes.length % sets.length]!;
      const checkpoint = openCheckpoint(inMemory(withFile(files, "config.json", bytes)).at());
      inspect(checkpoint, { adapters });
      checkpoint.close();
    },
  };
}

const corpus = (name: string): Buffer[] =>
  readdirSync(`${CORPUS}${name}`).map((file) => readFileSync(`${CORPUS}${name}/${file}`));

function record(): Parser {
  return {
    name: "record",
    good: corpus("record"),
    mutations: [...ON_BYTES, ...ON_JSON, ...ON_JSON],
    read: (bytes) => void parseRecord(bytes.toString("utf8"), "convert-checkpoint.json"),
  };
}

function journal(): Parser {
  const home = mkdtempSync(join(tmpdir(), "fuzz-journal-"));
  return {
    name: "journal",
    good: corpus("journal"),
    mutations: [...ON_BYTES, ...ON_JSON],
    read(bytes) {
      writeFileSync(join(home, JOURNAL_NAME), bytes);
      readJournal(home);
    },
  };
}
