import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LEAST_NODE, VERSION } from "../../src/base/version.ts";
import { commands } from "../../src/cli/commands/commands.ts";
import { ENCODING_CHOICES } from "../../src/encodings/encoding.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const { hf } = fixture("llama3/split");

describe("help and version", () => {
  it("lists every command", async () => {
    const { code, stdout, stderr } = await run("--help");
    expect(code).toBe(0);
    for (const name of ["convert", "inspect", "plan", "roundtrip", "diff", "validate", "families", "doctor"]) {
      expect(stdout).toContain(`convert-checkpoint ${name}`);
    }
    expect(stderr).toBe("");
  });

  it("shows a command's own options", async () => {
    const { code, stdout } = await run("convert", "--help");
    expect(code).toBe(0);
    expect(stdout).toContain("--max-shard-size");
  });

  it("names every value of an option that has a few", async () => {
    for (const { usage, options } of commands) {
      const [name = ""] = [usage].flat()[0]!.split(" ");
      const { stdout } = await run(name, "--help");
      const text = stdout.replaceAll(/\s+/g, " ");
      for (const { choices = [] } of Object.values(options)) {
        if (choices.length > 0) expect(text).toContain(`[choices: ${choices.map((each) => `"${each}"`).join(", ")}]`);
      }
    }
    const { stdout } = await run("convert", "--help");
    expect(stdout.replaceAll(/\s+/g, " ")).toMatch(/--encoding [^-]*\[choices: "auto", "none", "fp8", "mxfp4"\]/);
  });

  it("knows no encoding that a conversion refuses", async () => {
    for (const encoding of ENCODING_CHOICES) {
      const { json } = await run("plan", hf, "--to", "hf", "--encoding", encoding, "--json");
      expect(json.error?.code).not.toBe("ENCODING_UNKNOWN");
    }
  });

  it("prints the version of the package", async () => {
    const { version, engines } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(VERSION).toBe(version);
    expect(`>=${LEAST_NODE}`).toBe(engines.node);
    expect((await run("--version")).stdout).toBe(`${version}\n`);
  });
});

describe("wrong usage exits 2", () => {
  it.each([
    ["nothing at all", []],
    ["one path only", [hf]],
    ["three paths", [hf, "x", "y"]],
    ["an unknown option", ["inspect", hf, "--frobnicate"]],
    ["an option of another command", ["inspect", hf, "--ranks", "2"]],
    ["an option without its value", ["inspect", hf, "--family"]],
    ["an empty value", ["inspect", hf, "--family", ""]],
    ["an option twice", ["inspect", hf, "--family", "llama3", "--family", "qwen3"]],
    ["an unknown format", ["plan", hf, "--format", "gguf"]],
    ["an unknown dtype", ["plan", hf, "--dtype", "bf61"]],
    ["two dtypes for all", ["plan", hf, "--dtype", "bf16", "--dtype", "f32"]],
    ["a glob that matches nothing", ["plan", hf, "--dtype", "layers.*.wq=f32"]],
    ["an unknown layout", ["plan", hf, "--to", "megatron"]],
    ["an unknown family", ["inspect", hf, "--family", "llama9"]],
    ["a size without a unit", ["plan", hf, "--max-ram", "5"]],
    ["a size of nothing", ["plan", hf, "--max-ram", "0GB"]],
    ["a count that is none", ["plan", hf, "--ranks", "two"]],
    ["no ranks", ["plan", hf, "--ranks", "0"]],
    ["ranks of safetensors", ["plan", hf, "--format", "safetensors", "--ranks", "2"]],
    ["shards of DCP", ["plan", hf, "--max-shard-size", "1MB"]],
    ["a format that the target's name denies", ["plan", hf, "x.pt", "--format", "dcp"]],
    ["an encoding that is not written yet", ["plan", hf, "--encoding", "fp8"]],
    ["an encoding that is none", ["plan", hf, "--encoding", "gzip"]],
    ["a dtype with --to raw", ["plan", hf, "--to", "raw", "--dtype", "bf16"]],
    ["a backend that is none", ["parity", hf, "--backend", "gpu"]],
    ["routing that is none", ["parity", hf, "--routing", "fixed"]],
    ["an empty value of a few", ["plan", hf, "--format", ""]],
    ["a report of unknown format", ["inspect", hf, "--report", "report.pdf"]],
    ["a way back that is none", ["roundtrip", hf, "--to", "hf"]],
  ])("%s", async (_, argv) => {
    const { code, stdout, stderr } = await run(...argv);
    expect(stderr).toMatch(/^error\[[A-Z_]+\]: .+/);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^help: .+/);
    expect(code).toBe(2);
    expect(stdout).toBe("");
  });
});

it("says which values an option has", async () => {
  const { json } = await run("plan", hf, "--format", "gguf", "--json");
  expect(json.error).toEqual({
    code: "OPTION_VALUE",
    message: "--format gguf: not one of safetensors, dcp, pt",
    expected: "safetensors, dcp, pt",
    found: "gguf",
    help: "choose one of: safetensors, dcp, pt",
  });
  expect((await run("plan", hf, "--format", "dcp", "--format", "pt", "--json")).json.error.code).toBe(
    "OPTION_REPEATED",
  );
  expect((await run("plan", hf, "--encoding", "", "--json")).json.error.code).toBe("OPTION_EMPTY");
});

describe("--json", () => {
  it("is one document and nothing else, also for an error", async () => {
    const { code, json, stderr } = await run("inspect", "/nowhere/at-all", "--json");
    expect(code).toBe(3);
    expect(json).toEqual({
      verdict: "error",
      error: expect.objectContaining({ code: "NOT_FOUND", file: "/nowhere/at-all", help: expect.any(String) }),
    });
    expect(stderr).toMatch(/^error\[NOT_FOUND\]/);
  });

  it("holds for wrong usage as well", async () => {
    const { code, json } = await run("inspect", hf, "--frobnicate", "--json");
    expect(code).toBe(2);
    expect(json.error.code).toBe("USAGE");
  });

  it("silences what is printed for people", async () => {
    const target = join(scratch(), "out");
    const { code, json } = await run(hf, target, "--json");
    expect(code).toBe(0);
    expect(json.verdict).toBe("pass");
  });
});

it("--quiet prints nothing", async () => {
  const { code, stdout, stderr } = await run("inspect", hf, "--quiet");
  expect([code, stdout, stderr]).toEqual([0, "", ""]);
});

describe("--report", () => {
  it("writes every format that is asked for", async () => {
    const directory = scratch();
    const files = ["r.json", "r.xml", "sub/r.md", "r.html"].map((name) => join(directory, name));
    const { code } = await run("validate", hf, ...files.flatMap((file) => ["--report", file]));
    expect(code).toBe(0);
    const [json, xml, markdown, html] = files.map((file) => readFileSync(file, "utf8"));
    expect(JSON.parse(json!).verdict).toBe("pass");
    expect(xml).toContain('failures="0"');
    expect(markdown).toContain("# validate: PASS");
    expect(html).toContain("<title>validate: pass</title>");
  });

  it("tells of an error too", async () => {
    const file = join(scratch(), "r.xml");
    const { code } = await run("validate", "/nowhere", "--report", file);
    expect(code).toBe(3);
    expect(readFileSync(file, "utf8")).toContain('errors="1"');
  });

  it("exits 4 where it cannot be written", async () => {
    const directory = scratch();
    writeFileSync(join(directory, "file"), "");
    const { code, stderr } = await run("inspect", hf, "--report", join(directory, "file", "r.json"));
    expect(stderr).toMatch(/^error\[REPORT_UNWRITABLE\]/);
    expect(code).toBe(4);
  });
});
