// Meta's layout: files that fairscale's layers cut, against what transformers' own script makes of them.
import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { planTorchFile } from "../../src/formats/pt/plan.ts";
import { RANK_FILE } from "../../src/formats/pt/ranks.ts";
import { planSafetensors } from "../../src/formats/safetensors/write.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { run } from "../cli/command.ts";
import { writeOutput } from "../formats/dcp/write-output.ts";
import { converted, hashes, type Options, sorted } from "../helpers/converted.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";

const directory = mkdtempSync(join(tmpdir(), "meta-"));
afterAll(() => rmSync(directory, { recursive: true }));

const META = join(FIXTURES, "meta");
const names = readdirSync(META);
const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));
const rankFiles = (folder: string) =>
  readdirSync(folder)
    .filter((name) => RANK_FILE.test(name))
    .toSorted();
let count = 0;
const fresh = () => join(directory, `${count++}`);

async function made(from: string, options: Options = {}): Promise<string> {
  const target = fresh();
  await converted(from, target, options);
  return target;
}

/** Every tensor of every rank. */
const ranksOf = (folder: string) =>
  Object.fromEntries(
    rankFiles(folder).map((name) => {
      const alone = fresh();
      cpSync(join(folder, name), `${alone}.pth`);
      return [name, sorted(hashes(`${alone}.pth`))];
    }),
  );

function bytesOf(checkpoint: Checkpoint, key: string): Uint8Array {
  const bytes = new Uint8Array(checkpoint.tensors.get(key)!.byteLength);
  checkpoint.read(key, 0, bytes);
  return bytes;
}

/** Writes a rank again, some of its tensors changed. */
function rewrite(folder: string, name: string, change: (key: string, bytes: Uint8Array) => void): void {
  const file = openCheckpoint(join(folder, name));
  const tensors = [...file.tensors.values()];
  const payloads = new Map(
    tensors.map(({ key }) => {
      const bytes = bytesOf(file, key);
      change(key, bytes);
      return [key, bytes] as const;
    }),
  );
  file.close();
  writeOutput(folder, planTorchFile(tensors, name), payloads);
}

describe.each(names)("%s", (name) => {
  const meta = join(META, name);
  const ranks = rankFiles(meta).length;

  test("to hf: what transformers' script makes of it, tensors and config", async () => {
    const hf = await made(meta);
    expect(Object.fromEntries(hashes(hf))).toEqual(json(join(meta, "to_hf.sha256.json")));
    const theirs = json(join(meta, "to_hf.config.json"));
    const ours = json(join(hf, "config.json"));
    const fields = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"];
    for (const field of [
      ...fields,
      "num_key_value_heads",
      "rms_norm_eps",
      "max_position_embeddings",
      "rope_parameters",
    ])
      expect(ours[field], field).toEqual(theirs[field]);
    expect(ours).toMatchObject({ model_type: "llama", dtype: "bfloat16", tie_word_embeddings: false });
  });

  test("there and back: every rank has the bits it had, and the files are cut alike for any number of ranks", async () => {
    const hf = await made(meta);
    const back = await made(hf, { to: "meta", ranks });
    const expected = ranksOf(meta);
    for (const tensors of Object.values(expected))
      tensors.splice(0, tensors.length, ...tensors.filter(([key]) => key !== "rope.freqs"));
    expect(ranksOf(back)).toEqual(expected);
    expect(await made(back).then(hashes)).toEqual(hashes(hf));
    const whole = await made(back, { to: "meta", ranks: 1 });
    expect(rankFiles(whole)).toEqual(["consolidated.00.pth"]);
    expect(ranksOf(await made(whole, { to: "meta", ranks }))).toEqual(expected);
  });

  test("by way of torchtitan and of vLLM: the same model", async () => {
    const hf = hashes(await made(meta));
    for (const to of ["torchtitan", "torchtitan-0.2", "vllm"])
      expect(sorted(hashes(await made(await made(meta, { to })))), to).toEqual(sorted(hf));
  });

  test("params.json says again what it said", async () => {
    const back = await made(await made(meta), { to: "meta", ranks });
    expect(json(join(back, "params.json"))).toMatchObject({
      vocab_size: json(join(meta, "to_hf.config.json")).vocab_size,
    });
    rmSync(join(back, "config.json"));
    const [first, second] = [await made(meta), await made(back)];
    expect(json(join(second, "config.json"))).toEqual(json(join(first, "config.json")));
    expect(sorted(hashes(second))).toEqual(sorted(hashes(first)));
  });

  test("inspect, validate, diff and roundtrip know it", async () => {
    const inspected = await run("inspect", meta, "--json");
    expect(inspected.json).toMatchObject({ format: "pt", family: "llama3", layout: "meta", ranks, problems: [] });
    const shapes = Object.entries<{ shape: number[] }>(json(join(meta, "to_hf.sha256.json"))).map(
      ([, { shape }]) => shape,
    );
    const parameters = shapes.reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 1), 0);
    const freqs = inspected.json.tensors.find(({ key }: { key: string }) => key === "rope.freqs")?.shape[0] ?? 0;
    expect(inspected.json.parameters).toBe(parameters + freqs);
    expect((await run("validate", meta, "--json")).json).toMatchObject({ verdict: "pass", layout: "meta" });
    expect((await run("roundtrip", meta, "--json")).json).toMatchObject({ verdict: "pass", differences: [] });
    const hf = await made(meta);
    expect((await run("diff", meta, hf, "--json")).json).toMatchObject({ verdict: "pass", differences: [] });
    expect((await run("diff", meta, meta, "--json")).json).toMatchObject({ verdict: "pass", differences: [] });
  });

  test("there is no graph of it: parity refuses", async () => {
    const hf = await made(meta);
    const { code, stderr } = await run("parity", meta, hf, "--tokens", "4");
    expect([code, stderr]).toEqual([3, expect.stringContaining("error[NO_GRAPH]")]);
  });
});

test("a tied model has its output twice, and it comes back as it was", async () => {
  const untied = await made(join(META, "llama2"));
  const config = join(untied, "config.json");
  writeFileSync(config, JSON.stringify({ ...json(config), tie_word_embeddings: true }));
  const tied = fresh();
  cpSync(untied, tied, { recursive: true });
  const source = openCheckpoint(untied);
  const kept = [...source.tensors.values()].filter(({ key }) => key !== "lm_head.weight");
  const payloads = new Map(kept.map(({ key }) => [key, bytesOf(source, key)]));
  source.close();
  writeOutput(tied, planSafetensors(kept, { metadata: { format: "pt" } }), payloads);
  const meta = await made(tied, { to: "meta", ranks: 2 });
  const tensors = Object.values(ranksOf(meta)).map((rank) => new Map(rank));
  expect(tensors.map((rank) => rank.get("output.weight")?.shape)).toEqual([
    [76, 48],
    [76, 48],
  ]);
  expect(tensors.map((rank) => rank.get("tok_embeddings.weight")?.shape)).toEqual([
    [152, 24],
    [152, 24],
  ]);
  const back = await made(meta);
  expect(readFileSync(join(back, "model.safetensors")).equals(readFileSync(join(tied, "model.safetensors")))).toBe(
    true,
  );
  rewrite(meta, "consolidated.01.pth", (key, bytes) => {
    if (key === "output.weight") bytes[7]! ^= 1;
  });
  expect((await run("convert", meta, fresh(), "--json")).json.error).toMatchObject({ code: "TIE_BROKEN" });
});

test("in another container the tensors are whole, and the record tells the layout", async () => {
  const hf = await made(join(META, "llama3"));
  for (const format of ["dcp", "safetensors"] as const) {
    const target = await made(hf, { to: "meta", format });
    expect((await run("inspect", target, "--json")).json).toMatchObject({ format, layout: "meta" });
    expect(sorted(hashes(await made(target)))).toEqual(sorted(hashes(hf)));
  }
});

test("bf16 over several ranks is cast once, and reported", async () => {
  const one = fixture("demo");
  const result = await converted(one.hf, fresh(), { to: "meta", ranks: 2, dtype: ["f32"] });
  expect(new Set(result.casts.map(({ maxRelativeError }) => maxRelativeError))).toEqual(new Set([0]));
  const there = await made(one.hf, { to: "meta", ranks: 2, dtype: ["f32"] });
  expect(sorted(hashes(await made(there, { dtype: ["bf16"] })))).toEqual(sorted(hashes(one.hf)));
});

describe("what is refused", () => {
  const damaged = (name: string, edit: (folder: string) => void): string => {
    const folder = fresh();
    cpSync(join(META, name), folder, { recursive: true });
    edit(folder);
    return folder;
  };
  const failure = async (folder: string, ...options: readonly string[]) => {
    const { code, stdout } = await run("convert", folder, fresh(), "--json", ...options);
    const { error } = JSON.parse(stdout);
    return { exit: code, code: error?.code, tensor: error?.tensor, file: error?.file };
  };
  test.each(["norm.weight", "layers.1.ffn_norm.weight", "rope.freqs"])("%s differs between ranks", async (key) => {
    const folder = damaged("llama2", (at) =>
      rewrite(at, "consolidated.01.pth", (name, bytes) => {
        if (name === key) bytes[5]! ^= 1;
      }),
    );
    const file = join(folder, "consolidated.01.pth");
    expect(await failure(folder)).toEqual({ exit: 3, code: "RANKS_DIFFER", tensor: key, file });
    for (const command of ["validate", "roundtrip"]) expect((await run(command, folder)).code, command).toBe(3);
  });

  test("a rank written again is the rank it was", async () => {
    const folder = damaged("llama2", (at) => rewrite(at, "consolidated.01.pth", () => {}));
    expect(await failure(folder)).toMatchObject({ exit: 0 });
  });

  test("consolidated.01.pth is missing: between others, and at the end", async () => {
    for (const name of ["llama2", "llama3"]) {
      const folder = damaged(name, (at) => rmSync(join(at, "consolidated.01.pth")));
      const file = join(folder, "consolidated.01.pth");
      expect(await failure(folder)).toMatchObject({ exit: 3, code: "RANK_MISSING", file });
    }
    const shifted = damaged("llama2", (at) =>
      renameSync(join(at, "consolidated.00.pth"), join(at, "consolidated.02.pth")),
    );
    expect(await failure(shifted)).toMatchObject({ code: "RANK_MISSING", file: join(shifted, "consolidated.00.pth") });
  });

  test("a rank of another model", async () => {
    const folder = damaged("llama2", (at) =>
      cpSync(join(META, "llama3", "consolidated.01.pth"), join(at, "consolidated.01.pth")),
    );
    expect(await failure(folder)).toMatchObject({
      exit: 3,
      code: "RANKS_DIFFER",
      file: join(folder, "consolidated.01.pth"),
    });
    const sizes = damaged("llama3", (at) => {
      const file = join(at, "consolidated.03.pth");
      cpSync(join(META, "llama3-one-rank", "consolidated.00.pth"), file);
    });
    expect(await failure(sizes)).toMatchObject({ exit: 3, code: "RANKS_DIFFER" });
  });

  test("one file of several ranks", async () => {
    const file = join(META, "llama3", "consolidated.01.pth");
    expect(await failure(file, "--config", join(META, "llama3"))).toMatchObject({ exit: 3, code: "RANK_ALONE", file });
  });

  test.each([
    ["n_layers", 3, { code: "MISSING_TENSOR" }],
    ["n_heads", 5, { code: "INVALID_CONFIG" }],
    ["n_kv_heads", 2, { code: "RANKS_DIFFER", tensor: "layers.0.attention.wk.weight" }],
    ["ffn_dim_multiplier", 2.6, { exit: 3 }],
    ["vocab_size", 160, { code: "SHAPE_MISMATCH", tensor: "tok_embeddings.weight" }],
    ["dim", 128, { exit: 3 }],
    ["hidden_dim", 14336, { code: "CONFIG_UNSUPPORTED" }],
    ["use_scaled_rope", "yes", { code: "INVALID_CONFIG" }],
  ])("params.json with another %s", async (field, value, expected) => {
    const folder = damaged("llama3", (at) => {
      const file = join(at, "params.json");
      writeFileSync(file, JSON.stringify({ ...json(file), [field]: value }));
    });
    expect(await failure(folder)).toMatchObject({ exit: 3, ...expected });
  });

  test("more ranks than there are key heads, and a number that does not divide", async () => {
    const hf = await made(join(META, "llama3"));
    for (const ranks of ["8", "3"])
      expect(await failure(hf, "--to", "meta", "--ranks", ranks)).toMatchObject({ exit: 2 });
  });

  test("--to raw of several ranks; of one file it is raw", async () => {
    expect(await failure(join(META, "llama3"), "--to", "raw")).toMatchObject({ exit: 3, code: "RANKS_UNKNOWN" });
    const one = join(META, "llama3", "consolidated.01.pth");
    expect(sorted(hashes(await made(one, { to: "raw" })))).toEqual(
      ranksOf(join(META, "llama3"))["consolidated.01.pth"],
    );
  });

  test("what params.json has no word for", async () => {
    for (const name of ["llama3/biased"])
      expect(await failure(fixture(name).hf, "--to", "meta")).toMatchObject({ exit: 3 });
  });
});
