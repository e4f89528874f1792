// The bundled command as a process of its own: pipes, signals, the terminal's side of things.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { f32, type State, writeSafetensors } from "../helpers/checkpoints.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const place = join(root, "node_modules", ".cache", `convert-checkpoint-${process.pid}`);
const command = join(place, "convert-checkpoint.js");
const { hf, native } = fixture("llama3/split");

beforeAll(() => {
  const bundler = pathToFileURL(join(root, "scripts", "bundle.mjs")).href;
  const code = `const { bundle } = await import(${JSON.stringify(bundler)}); await bundle("src/cli/main.ts", ${JSON.stringify(place)});`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: root,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
});
afterAll(() => rmSync(place, { recursive: true, force: true }));

const run = (...args: string[]) => spawnSync(process.execPath, [command, ...args], { encoding: "utf8" });

const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.on("close", resolve));

it("starts without loading what a command needs", () => {
  const { status, stdout, stderr } = run("--help");
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("convert-checkpoint parity");
});

it("runs through a symbolic link, as npm installs it", () => {
  const link = join(scratch(), "convert-checkpoint");
  symlinkSync(command, link);
  const { status, stdout } = spawnSync(process.execPath, [link, "inspect", hf, "--json"], { encoding: "utf8" });
  expect(status).toBe(0);
  expect(JSON.parse(stdout).family).toBe("llama3");
});

it("shows no stack trace, unless DEBUG=1", () => {
  const args = [command, "inspect", "/nowhere"];
  const plain = spawnSync(process.execPath, args, { encoding: "utf8", env: { ...process.env, DEBUG: "" } });
  expect(plain.status).toBe(3);
  expect(plain.stderr).not.toMatch(/^\s+at /m);
  const debug = spawnSync(process.execPath, args, { encoding: "utf8", env: { ...process.env, DEBUG: "1" } });
  expect(debug.stderr).toMatch(/^\s+at /m);
  expect(debug.stderr.trimEnd().split("\n").at(-1)).toMatch(/^help: /);
});

it("computes in threads from one bundled file, and ends", () => {
  const { status, stdout, stderr } = run("parity", native, hf, "--config", hf, "--backend", "wasm", "--json");
  expect([status, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ verdict: "pass", backend: { name: "wasm", adapter: null } });
});

it("survives a reader that closes its end", async () => {
  const child = spawn(process.execPath, [command, "plan", hf, "--json"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout?.destroy();
  let stderr = "";
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  expect(await ended(child)).toBe(0);
  expect(stderr).toBe("");
});

it("shows progress on stderr when asked to, and keeps stdout clean", () => {
  const target = join(scratch(), "out");
  const { status, stdout, stderr } = run(largeModel(), target, "--to", "raw", "--progress", "--json", "--no-fsync");
  expect(stderr).toMatch(/writing .* 336 MB of 336 MB {2}/);
  expect(status).toBe(0);
  expect(JSON.parse(stdout).verdict).toBe("pass");
});

/** 320 MB: long enough to be stopped on the way. */
function largeModel(): string {
  const state: State = new Map(
    Array.from({ length: 5 }, (_, i) => [
      `w${i}`,
      { ...f32([1], () => 0), shape: [1 << 24], bytes: new Uint8Array(1 << 26) },
    ]),
  );
  return writeSafetensors(join(scratch(), "large"), state);
}

async function stopped(signal: "SIGINT" | "SIGTERM" | "SIGHUP", ...options: string[]) {
  const [source, parent] = [largeModel(), scratch()];
  const args = [command, source, join(parent, "out"), "--to", "raw", ...options];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  const timer = setInterval(() => {
    // The journal tells of bytes on disk: the run is under way, and there is something to keep.
    const journal = join(parent, ".out.convert-checkpoint-partial/journal");
    const isUnderWay = existsSync(journal) && readFileSync(journal, "utf8").includes('"bytes"');
    if (isUnderWay && !child.killed) child.kill(signal);
  }, 5);
  const code = await ended(child);
  clearInterval(timer);
  return { code, stderr, left: readdirSync(parent), source, parent };
}

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s ends it with %d; what it wrote is kept, and how to go on is said", async (signal, expected) => {
  const { code, stderr, left, source, parent } = await stopped(signal);
  expect(code).toBe(expected);
  expect(left).toEqual([".out.convert-checkpoint-partial"]);
  const lines = stderr.trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toBe(`error[INTERRUPTED]: stopped by ${signal}`);
  expect(lines[1]).toMatch(/^help: .* MB are kept in .*: the same command with --resume continues/);
  expect(run(source, join(parent, "out"), "--to", "raw", "--resume").status).toBe(0);
  expect(readdirSync(parent)).toEqual(["out"]);
  expect(run("diff", source, join(parent, "out")).status).toBe(0);
});

/** A llama of 34 GB without one block on the disk: whatever reads its weights, or runs it, takes long. */
function sparseModel(): string {
  const directory = scratch();
  const config = JSON.parse(readFileSync(join(hf, "config.json"), "utf8"));
  const [d, v] = [4096, 1 << 20];
  const sizes = { hidden_size: d, vocab_size: v, num_attention_heads: 32, num_key_value_heads: 32, head_dim: 128 };
  const small = { num_hidden_layers: 1, intermediate_size: 8, tie_word_embeddings: false };
  writeFileSync(join(directory, "config.json"), JSON.stringify({ ...config, ...sizes, ...small }));
  const layer = (key: string, shape: number[]) => [`model.layers.0.${key}.weight`, shape] as const;
  const shapes = [
    ["model.embed_tokens.weight", [v, d]],
    ["model.norm.weight", [d]],
    ["lm_head.weight", [v, d]],
    ...["q", "k", "v", "o"].map((name) => layer(`self_attn.${name}_proj`, [d, d])),
    ...["gate", "up"].map((name) => layer(`mlp.${name}_proj`, [8, d])),
    layer("mlp.down_proj", [d, 8]),
    ...["input", "post_attention"].map((name) => layer(`${name}_layernorm`, [d])),
  ] as const;
  sparseSafetensors(join(directory, "model.safetensors"), Object.fromEntries(shapes));
  return directory;
}

function sparseSafetensors(path: string, shapes: Readonly<Record<string, readonly number[]>>): void {
  let end = 0;
  const tensors = Object.entries(shapes).map(([key, shape]) => {
    const begin = end;
    end += shape.reduce((product, size) => product * size, 4);
    return [key, { dtype: "F32", shape, data_offsets: [begin, end] }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(tensors)));
  const length = Buffer.alloc(8);
  length.writeUInt32LE(header.length);
  writeFileSync(path, Buffer.concat([length, header]));
  truncateSync(path, 8 + header.length + end);
}

/** Sends SIGINT once `isUnderWay`, asked with what it has shown so far. */
async function interrupted(args: readonly string[], isUnderWay: (shown: string) => boolean) {
  const child = spawn(process.execPath, [command, ...args, "--progress"], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  const timer = setInterval(() => {
    if (isUnderWay(stderr) && !child.killed) child.kill("SIGINT");
  }, 10);
  const code = await ended(child);
  clearInterval(timer);
  return { code, signal: child.signalCode, stderr };
}

const showsProgress = (stderr: string): boolean => stderr.includes("%");

/** For work that shows nothing: it has begun by then, and takes seconds. */
const after = (ms: number): (() => boolean) => {
  const begin = performance.now();
  return () => performance.now() - begin > ms;
};

it.each(["validate", "roundtrip", "diff"])("SIGINT ends %s at once", async (name) => {
  const model = sparseModel();
  const args = name === "diff" ? [name, model, model] : [name, model];
  expect((await interrupted(args, showsProgress)).signal).toBe("SIGINT");
});

it("SIGINT ends parity at once, in the middle of a product", async () => {
  const model = sparseModel();
  expect((await interrupted(["parity", model, model, "--backend", "cpu"], after(1000))).signal).toBe("SIGINT");
});

it.each(["inspect", "plan"])("SIGINT ends %s while a header is read or a table expanded", async (name) => {
  const path = join(scratch(), "many.safetensors");
  sparseSafetensors(path, Object.fromEntries(Array.from({ length: 200_000 }, (_, i) => [`w${i}`, [1]])));
  const more = name === "plan" ? ["--to", "raw"] : [];
  expect((await interrupted([name, path, ...more], after(400))).signal).toBe("SIGINT");
});

it("SIGINT takes the file of --save-logits with it", async () => {
  const [model, parent] = [sparseModel(), scratch()];
  const args = ["parity", model, model, "--backend", "cpu", "--save-logits", join(parent, "logits.safetensors")];
  const { code, stderr } = await interrupted(args, () => readdirSync(parent).length > 0);
  expect(code).toBe(130);
  expect(stderr).toContain("error[INTERRUPTED]: stopped by SIGINT");
  expect(readdirSync(parent)).toEqual([]);
});

it("exits 4 where the target cannot be created", () => {
  const directory = scratch();
  mkdirSync(join(directory, "folder"));
  writeFileSync(join(directory, "file"), "");
  const { status, stderr } = run(hf, join(directory, "file", "out"));
  expect(stderr).toMatch(/^error\[/);
  expect([3, 4]).toContain(status);
});
