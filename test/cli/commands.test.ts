// Every command through the command line: exit code, JSON document, what is printed for people.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { f32, flipped, readState, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { runOf, shapeOf, stored } from "../report/stored.ts";
import { run } from "./command.ts";

const split = fixture("llama3/split");
const config = join(split.hf, "config.json");

describe("convert", () => {
  it("gives the document of the contract", async () => {
    const target = join(scratch(), "hf");
    const { code, json } = await run(split.native, target, "--config", split.hf, "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({
      verdict: "pass",
      family: "llama3",
      from: { layout: "torchtitan", format: "dcp" },
      to: { layout: "hf", format: "safetensors" },
      tensors: split.toHf.size,
      dropped: [],
      casts: [],
    });
    expect(json.bytes).toBe(281_016);
    expect(json.peakRamBytes).toBeGreaterThan(1e6);
    expect(json.seconds).toBeGreaterThan(0);
    for (const { name, bytes, xxh64 } of json.files) {
      expect(readFileSync(join(target, name)).length).toBe(bytes);
      expect(xxh64).toMatch(/^[0-9a-f]{16}$/);
    }
    expect(json.files.map(({ name }: { name: string }) => name).sort()).toEqual(readdirSync(target).sort());
  });

  it("is the command that a source and a target stand for", async () => {
    const [a, b] = [join(scratch(), "a"), join(scratch(), "b")];
    expect((await run("convert", split.hf, a, "--quiet")).code).toBe(0);
    expect((await run(split.hf, b, "--quiet")).code).toBe(0);
    expect(readdirSync(a)).toEqual(readdirSync(b));
  });

  it("shows the plan first", async () => {
    const { code, stdout } = await run(split.hf, join(scratch(), "out"));
    expect(code).toBe(0);
    expect(stdout.indexOf("peak memory")).toBeGreaterThan(0);
    expect(stdout.indexOf("peak memory")).toBeLessThan(stdout.indexOf("xxh64"));
  });

  it("--dry-run writes nothing", async () => {
    const parent = scratch();
    const { code, stdout } = await run(split.hf, join(parent, "out"), "--dry-run");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^from +hf, safetensors$/m);
    expect(stdout).toMatch(/^to +torchtitan, dcp, 1 weight file$/m);
    expect(stdout).toMatch(/^hf → torchtitan: .* nothing is written yet$/m);
    expect(readdirSync(parent)).toEqual([]);
  });

  it("exits 3 for an existing target, 4 for an impossible --max-ram, and leaves both alone", async () => {
    const parent = scratch();
    const target = join(parent, "out");
    mkdirSync(target);
    writeFileSync(join(target, "mine"), "");
    // No plan of what will not be done.
    expect(await run(split.hf, target)).toMatchObject({ code: 3, stdout: "" });
    expect(readdirSync(target)).toEqual(["mine"]);
    expect((await run(split.hf, join(parent, "other"), "--max-ram", "1MB")).code).toBe(4);
    expect(readdirSync(parent)).toEqual(["out"]);
  });

  it("refuses to replace its own source", async () => {
    const directory = writeSafetensors(join(scratch(), "model"), readState(split.hf), { config });
    const { code, stderr } = await run(directory, directory, "--force");
    expect(stderr).toMatch(/^error\[TARGET_UNSAFE\]/);
    expect(code).toBe(3);
    expect(readdirSync(directory)).toContain("model.safetensors");
  });

  it("asks for a config where there is none", async () => {
    const { code, stderr } = await run(split.native, join(scratch(), "out"));
    expect(code).toBe(3);
    expect(stderr).toMatch(/^error\[CONFIG_MISSING\].*\n(.*\n)*help: give it with --config/);
  });

  it("finds a flipped bit in a DCP file, and leaves nothing", async () => {
    const parent = scratch();
    const source = writeDcp(join(parent, "source"), readState(split.native), { config });
    const file = join(source, "__0_0.distcp");
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1]! ^= 4;
    writeFileSync(file, bytes);
    const { code, stderr } = await run(source, join(parent, "out"));
    expect(stderr).toMatch(/^error\[CRC_MISMATCH\]/);
    expect(code).toBe(3);
    expect(readdirSync(parent)).toEqual(["source"]);
  });
});

describe("inspect", () => {
  it("says what a trainer saved", async () => {
    const { code, json } = await run("inspect", split.natives["native-fsdp4"]!, "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({ format: "dcp", family: "llama3", layout: "torchtitan", ranks: 4, parameters: 70_254 });
    expect(json.tensors).toHaveLength(21);
    expect(json.tensors[0]).toEqual({
      key: expect.any(String),
      dtype: "F32",
      shape: expect.any(Array),
      bytes: expect.any(Number),
    });
    expect(json.problems.map((problem: { code: string }) => problem.code)).toEqual(["CONFIG_MISSING"]);
  });

  it("exits 0 for an unknown family", async () => {
    const path = writeSafetensors(join(scratch(), "any"), new Map([["w", f32([2], () => 1)]]));
    const { code, json } = await run("inspect", path, "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({ format: "safetensors", family: null, layout: null });
  });

  it("lists what a conversion would stop at", async () => {
    const state = readState(split.hf);
    state.delete("model.norm.weight");
    const { code, json } = await run("inspect", writeSafetensors(join(scratch(), "bad"), state, { config }), "--json");
    expect(code).toBe(0);
    expect(json.problems).toEqual([expect.objectContaining({ code: "MISSING_TENSOR", tensor: "model.norm.weight" })]);
  });

  it.each([
    ["an empty directory", (path: string) => mkdirSync(path), "NOT_A_CHECKPOINT"],
    ["a text file", (path: string) => writeFileSync(path, "hello, world, this is text"), "NOT_A_CHECKPOINT"],
    ["an empty file", (path: string) => writeFileSync(path, ""), "NOT_A_CHECKPOINT"],
    ["nothing", () => undefined, "NOT_FOUND"],
  ])("refuses %s", async (_, make, expected) => {
    const path = join(scratch(), "x");
    make(path);
    const { code, json } = await run("inspect", path, "--json");
    expect([code, json.error.code]).toEqual([3, expected]);
  });

  it("points at the checkpoints below, and at the ones that compete", async () => {
    const parent = scratch();
    for (const step of [9, 10]) writeDcp(join(parent, `step-${step}`), readState(split.native));
    const below = await run("inspect", parent, "--json");
    expect(below.json.error.help).toContain("step-10");
    writeSafetensors(join(parent, "step-9"), readState(split.hf));
    const both = await run("inspect", join(parent, "step-9"), "--json");
    expect([both.code, both.json.error.code]).toEqual([3, "AMBIGUOUS_CHECKPOINT"]);
    expect((await run("inspect", join(parent, "step-9", ".metadata"), "--json")).json.format).toBe("dcp");
  });
});

describe("plan", () => {
  it("tells keys, shapes, sizes, memory and disk, and reads no weights", async () => {
    const path = writeSafetensors(join(scratch(), "model"), readState(split.hf), { config });
    const { code, json } = await run("plan", path, "--dtype", "bf16", "--json");
    expect(code).toBe(0);
    const q = json.tensors.find(({ key }: { key: string }) => key === "layers.0.attention.qkv_linear.wq.weight");
    expect(q).toEqual({
      key: "layers.0.attention.qkv_linear.wq.weight",
      dtype: "BF16",
      shape: [60, 54],
      bytes: 6480,
      from: ["model.layers.0.self_attn.q_proj.weight"],
      rule: "permuteRope",
    });
    expect(json.casts).toHaveLength(21);
    expect(json.diskBytes).toBe(json.files.reduce((sum: number, file: { bytes: number }) => sum + file.bytes, 0));
    const { json: done } = await run(path, join(scratch(), "out"), "--dtype", "bf16", "--json");
    expect(done.files.map(({ name, bytes }: { name: string; bytes: number }) => ({ name, bytes }))).toEqual(json.files);
  });
});

describe("roundtrip, diff, validate", () => {
  it("exit 0 where every check holds", async () => {
    for (const argv of [
      ["roundtrip", split.hf],
      ["diff", split.native, split.hf, "--config", split.hf],
      ["validate", split.native, "--config", config],
    ]) {
      const { code, json } = await run(...argv, "--json");
      expect([argv[0], code, json.verdict]).toEqual([argv[0], 0, "pass"]);
      expect(json).toMatchObject({ tensors: 21, bytes: 281_016, differences: [] });
    }
  });

  it("exit 1 where one does not, naming the tensor", async () => {
    const state = readState(split.hf);
    const key = "model.layers.0.mlp.gate_proj.weight";
    state.set(key, flipped(state.get(key)!));
    const bad = writeSafetensors(join(scratch(), "bad"), state, { config });
    const { code, json } = await run("diff", split.native, bad, "--config", config, "--json");
    expect(code).toBe(1);
    expect(json.differences).toEqual([{ key, kind: "values", detail: expect.any(String) }]);
    state.set(
      key,
      f32([75, 54], () => 0),
    );
    const { code: zero, stdout } = await run("validate", writeSafetensors(join(scratch(), "zero"), state, { config }));
    expect(zero).toBe(1);
    expect(stdout).toContain(key);
  });

  it("--config never overrides a config that is there; --config-b does", async () => {
    const other = fixture("llama3/bf16").hf;
    expect((await run("diff", split.native, split.hf, "--config-a", config, "--config", other)).code).toBe(0);
    const { code, stderr } = await run("diff", split.native, split.hf, "--config", config, "--config-b", other);
    expect(code).toBe(1);
    expect(stderr).toBe("");
  });
});

describe("reports that the tests of views are fed with have the fields of today's", () => {
  it.each([
    "convert",
    "convert-raw",
    "diff-fail",
    "diff-pass",
    "inspect",
    "inspect-unknown",
    "parity-pass",
    "roundtrip",
    "validate-pass",
  ])("%s", async (name) => {
    const place = scratch();
    const argv = runOf(name).map((word) => (word.startsWith("made/") ? join(place, word) : word));
    const { json } = await run(...argv, "--json");
    expect(shapeOf(json)).toEqual(shapeOf(stored(name)));
  });
});

it("names from files move no cursor and forge no line, on stdout and on stderr", async () => {
  const name = "w\u001b]0;owned\u0007\n✓ all is well\u202e";
  const path = writeSafetensors(join(scratch(), "hostile"), new Map([[name, f32([2], () => 1)]]));
  const { stdout } = await run("inspect", path);
  expect(stdout).toContain("w\\u001b]0;owned\\u0007\\n✓ all is well\\u202e  F32 ");
  const state = readState(split.hf);
  state.set(
    name,
    f32([2], () => 1),
  );
  const { stderr } = await run("plan", writeSafetensors(join(scratch(), "hostile"), state, { config }));
  expect(stderr).toMatch(/^error\[UNKNOWN_TENSOR\]: /);
  expect(stderr).toContain("\\u202e");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]|^✓/m);
});

describe("families and doctor", () => {
  it("list what is there", async () => {
    const { code, json } = await run("families", "--json");
    expect(code).toBe(0);
    expect(json.families.map(({ family }: { family: string }) => family)).toEqual(adapters.map(({ family }) => family));
  });

  it("doctor reports this machine", async () => {
    const { code, json } = await run("doctor", "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({
      node: process.versions.node,
      backends: { cpu: { available: true }, wasm: { available: true } },
    });
    const { webgpu } = json.backends;
    if (webgpu.available) expect(Object.keys(webgpu.matrices)).toEqual([expect.stringMatching(/^(shape|unused)$/)]);
    else expect(webgpu).toMatchObject({ available: false, reason: expect.any(String), help: expect.any(String) });
  });
});

describe("--adapter", () => {
  const plugin = `export default {
    family: "tiny", modelTypes: ["tiny"], flavours: ["dense"], modalities: ["text"], probes: [{ model_type: "tiny" }],
    sources: [], hf: { name: "hf", trainer: "transformers", side: "hf", ranked: false, noGraph: "none" },
    layouts: [{ name: "theirs", trainer: "them", side: "native", ranked: false, noGraph: "none" }],
    open() {
      return {
        family: "tiny", vocabSize: 2, maxPositions: 4, dtype: null, hf: this.hf,
        layouts: [{
          ...this.layouts[0],
          axes: () => ({ v: 2, d: 3 }),
          rules: () => [{ kind: "map", op: "transpose", optional: false,
            native: [{ key: "theirs.weight", dims: "v d" }], hf: [{ key: "ours.weight", dims: "d v" }] }],
          files: () => [],
        }],
        hfConfig: () => ({ model_type: "tiny" }), math: () => ({}),
      };
    },
  };`;

  it("adds a family from a module", async () => {
    const directory = scratch();
    const file = join(directory, "tiny.mjs");
    writeFileSync(file, plugin);
    writeFileSync(join(directory, "config.json"), '{ "model_type": "tiny" }');
    const source = writeSafetensors(join(directory, "model"), new Map([["ours.weight", f32([3, 2], (i) => i)]]), {
      config: join(directory, "config.json"),
    });
    const { code } = await run(source, join(directory, "native"), "--adapter", file, "--quiet");
    expect(code).toBe(0);
    const { bytes, shape } = readState(join(directory, "native")).get("theirs.weight")!;
    expect(shape).toEqual([2, 3]);
    expect([...new Float32Array(bytes.buffer)]).toEqual([0, 2, 4, 1, 3, 5]);
    expect((await run("families", "--adapter", file, "--json")).json.families[0].family).toBe("tiny");
  });

  it.each([
    [/modelTypes: \["tiny"\]/, "modelTypes: 'tiny'", 'in its adapter, "modelTypes" has to be a list'],
    [/sources: \[\],/, "", 'in its adapter, "sources" is missing, a list'],
    [/ open\(\)/, " close()", 'in its adapter, "open" is missing, a function'],
    [/layouts: \[\{ name: "theirs", /, "layouts: [{ ", 'in its adapter, "layouts.0.name" is missing, a text'],
    [/layouts: \[\{ name.*?\}\]/, "layouts: []", '"layouts" is empty: a family has at least one native layout'],
  ])("names the field that is not as it has to be: %s", async (from, to, message) => {
    const file = join(scratch(), "lacking.mjs");
    writeFileSync(file, plugin.replace(from, to));
    const { code, json } = await run("families", "--adapter", file, "--json");
    expect([code, json.error.code]).toEqual([3, "ADAPTER_INVALID"]);
    expect(json.error.message).toContain(message);
  });

  it("refuses what is no adapter", async () => {
    const file = join(scratch(), "none.mjs");
    expect((await run("families", "--adapter", file, "--json")).json.error.code).toBe("ADAPTER_INVALID");
    writeFileSync(file, "export default { family: 'x' };");
    expect((await run("families", "--adapter", file)).code).toBe(3);
    expect(existsSync(file)).toBe(true);
  });
});

it("known upstream differences: the last line says how to let them pass, and what was let pass", async () => {
  const { native, hf } = fixture("qwen3/yarn");
  const args = ["parity", native, hf, "--config", hf, "--backend", "cpu"];
  const refused = await run(...args);
  expect(refused.code).toBe(1);
  expect(refused.stdout).toMatch(/NOT the same model: .*YARN_ATTENTION_FACTOR.*--accept-known/);
  const small = await run(...args, "--accept-known");
  expect(small.code).toBe(1);
  expect(small.stdout).toMatch(
    /makes another model and is accepted by name alone: --accept-known=YARN_ATTENTION_FACTOR/,
  );
  expect((await run(...args, "--accept-known", "SLIDING_WINDOW")).code).toBe(1);
  const unknown = await run(...args, "--accept-known=NO_SUCH_CODE");
  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringMatching(/SLIDING_WINDOW, YARN_ATTENTION_FACTOR/)]);
  expect((await run(...args, "--accept-known=YARN_ATTENTION_FACTOR=x")).code).toBe(2);
  const spaced = await run("parity", "--accept-known", "YARN_ATTENTION_FACTOR", ...args.slice(1));
  expect(spaced.code).toBe(0);
  const accepted = await run(...args, "--accept-known=YARN_ATTENTION_FACTOR=0.5");
  expect(accepted.code).toBe(0);
  expect(accepted.stdout).toContain("the same model but for known upstream differences (YARN_ATTENTION_FACTOR");
  expect(accepted.stdout).not.toContain("✗");
});
