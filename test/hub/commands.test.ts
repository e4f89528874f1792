// Every command takes `hf://…` wherever it takes a path, and finds what it finds on disk.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { hubEnvironment } from "../helpers/hub/environment.ts";
import { filesOf } from "../helpers/hub/files.ts";
import { Hub } from "../helpers/hub/start.ts";
import { scratch } from "../helpers/scratch.ts";

const ADDRESS = "hf://acme/all@refs/pr/7";
const GATE = {
  checkpoints: [{ source: "../native", target: "../hf", seal: "../demo.seal.json", sourceConfig: "../hf" }],
  checks: ["ledger", "config", "identity"],
};
let hub: Hub;
/** What is in the repository, on disk. */
let here: string;
let commit: string;

beforeAll(async () => {
  hub = await Hub.start();
  here = mkdtempSync(join(tmpdir(), "convert-checkpoint-test-"));
  cpSync(join(FIXTURES, "demo"), here, { recursive: true });
  writeFileSync(join(here, "ids.json"), "[1, 2, 3, 4, 5]");
  writeFileSync(join(here, "prompts.json"), '["one", "two"]');
  writeFileSync(join(here, "demo.seal.json"), (await run("seal", join(here, "hf"))).stdout);
  mkdirSync(join(here, "gates"));
  writeFileSync(join(here, "gates/gate.json"), JSON.stringify(GATE));
  await hub.put("acme/all", { "README.md": Buffer.from("nothing yet") });
  commit = await hub.put("acme/all", filesOf(here), { ref: "refs/pr/7" });
});
afterAll(async () => {
  rmSync(here, { recursive: true, force: true });
  await hub.stop();
});
beforeEach(() => void hubEnvironment({ HF_ENDPOINT: hub.url }));

/** Of the run or of the place, not of the model. */
const MEASURED = /^(?:time|command|seconds|\w*[rR]amBytes|backendPeakBytes|free\w+|commit|source|host)$/;

const withoutMeasures = (text: string, root: string): unknown =>
  JSON.parse(text.replaceAll(root, "@"), (name, value) => (MEASURED.test(name) ? undefined : value));

const CONFIG = ["--config", "@/hf"];
const WASM = ["--backend", "wasm"];
const CALLS: readonly (readonly string[])[] = [
  ["inspect", "@/hf"],
  ["inspect", "@/native"],
  ["inspect", "@/hf/model.safetensors"],
  ["plan", "@/native", ...CONFIG],
  ["roundtrip", "@/hf"],
  ["diff", "@/native", "@/hf", "--config-a", "@/hf/config.json"],
  ["validate", "@/hf"],
  ["seal", "@/native", "--config", "@/hf/config.json"],
  ["match", "@/native", "@/demo.seal.json"],
  ["check", "@/native", "@/hf", "--seal", "@/demo.seal.json", "--only", "ledger,identity,hub"],
  ["gate", "@/gates/gate.json"],
];

test.each(CALLS.map((call) => [call.join(" "), call] as const))("%s", async (_, call) => {
  const [there, there2] = await Promise.all(
    [ADDRESS, here].map((root) => run(...call.map((word) => word.replace("@/", `${root}/`)), "--json")),
  );
  expect(there!.json.error).toBeUndefined();
  expect(there!.code).toBe(there2!.code);
  expect(withoutMeasures(there!.stdout, ADDRESS)).toEqual(withoutMeasures(there2!.stdout, here));
});

test.each([
  [["--ids", "@/ids.json"]],
  [["--prompt", "@@/prompt.txt", "--tokenizer", "@/hf"]],
  [["--prompts", "@/prompts.json"]],
])("parity %j", async (options) => {
  const words = ["parity", "@/native", "@/hf", ...options, ...CONFIG, ...WASM, "--json"];
  const { code, json } = await run(...words.map((word) => word.replace("@/", `${ADDRESS}/`)));
  expect([code, json.verdict]).toEqual([0, "pass"]);
});

test("a run on a golden of the Hub says which files it read, of which commit", async () => {
  const { json } = await run("parity", `${ADDRESS}/hf`, "--golden", `${ADDRESS}/golden.safetensors`, ...WASM, "--json");
  expect(json.verdict).toBe("pass");
  const golden = json.inputs.files.find(({ option }: { option: string }) => option === "--golden");
  expect(golden).toMatchObject({
    path: `${ADDRESS}/golden.safetensors`,
    commit,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test("init and mutate take a model of the Hub", async () => {
  const target = scratch();
  expect(await run("init", `${ADDRESS}/hf`, join(target, "random"), "--seed", "1")).toMatchObject({
    code: 0,
    stderr: "",
  });
  const mutated = await run("mutate", `${ADDRESS}/hf`, join(target, "bad"), "--fault", "transpose-square");
  expect(mutated.stderr).not.toContain("INTERNAL");
});
