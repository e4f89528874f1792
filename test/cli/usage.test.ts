import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LEAST_NODE, VERSION } from "../../src/base/version.ts";
import { commands } from "../../src/cli/commands.ts";
import { ENCODING_CHOICES } from "../../src/encodings/encoding.ts";
import { FIXTURES, fixture } from "../helpers/fixtures.ts";
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
    ["an unknown layout", ["plan", hf, "--to", "lightning"]],
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
    expect(json).toMatchObject({
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

it("--quiet prints nothing of what passed", async () => {
  const { code, stdout, stderr } = await run("inspect", hf, "--quiet");
  expect([code, stdout, stderr]).toEqual([0, "", ""]);
});

it("--quiet prints the headline of what failed, on stderr", async () => {
  const other = join(FIXTURES, "demo/hf");
  const { code, stdout, stderr } = await run("diff", hf, other, "--quiet");
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^[^\n]*differ[^\n]*\n$/);
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

describe("what was meant", () => {
  const help = async (...argv: string[]) => {
    const { code, stderr } = await run(...argv);
    return [code, stderr.trimEnd().split("\n").at(-1)];
  };

  it("a bare call lists the forms of a call", async () => {
    const { code, stdout, stderr } = await run();
    expect([code, stdout]).toEqual([2, ""]);
    for (const { usage } of commands) expect(stderr).toContain(`  convert-checkpoint ${[usage].flat()[0]} `);
  });

  it.each([["-h"], ["help"]])("%s is --help", async (...argv) => {
    expect(await run(...argv)).toMatchObject({ code: 0, stderr: "", stdout: (await run("--help")).stdout });
  });

  it.each([["-v"], ["version"]])("%s is --version", async (...argv) => {
    expect(await run(...argv)).toMatchObject({ code: 0, stdout: `${VERSION}\n` });
  });

  it("help of a command", async () => {
    const { stdout } = await run("plan", "--help");
    for (const argv of [
      ["help", "plan"],
      ["plan", "-h"],
    ]) {
      expect(await run(...argv)).toMatchObject({ code: 0, stdout });
    }
  });

  it.each([
    [["inspct", hf], "did you mean `convert-checkpoint inspect`?"],
    [["paln", hf, "x"], "did you mean `convert-checkpoint plan`?"],
    [["convertt", hf, "x"], "did you mean `convert-checkpoint convert`?"],
    [["doctr"], "did you mean `convert-checkpoint doctor`?"],
    [["inspect", hf, "--cofig", "x"], "did you mean --config? see convert-checkpoint inspect --help"],
    [
      [hf, "x", "--out-dtyp", "bf16"],
      "did you mean --out-dtype? see convert-checkpoint --help, or convert-checkpoint <command> --help",
    ],
    [["inspect", hf, "-json"], "did you mean --json? see convert-checkpoint inspect --help"],
    [
      ["inspect", hf, "--ranks", "2"],
      "--ranks is an option of convert, plan, init, not of inspect; see convert-checkpoint inspect --help",
    ],
    [["inspect", hf, "x"], "write convert-checkpoint inspect <path>; quote a path that has spaces"],
    [["diff", hf], "write convert-checkpoint diff <a> <b>; see convert-checkpoint diff --help"],
    [["inspect", hf, "--family"], "write --family VALUE; see convert-checkpoint inspect --help"],
    [["parity", hf, hf, "--min-top1", "99%"], "write --min-top1 0.99 for 99 %"],
    [["parity", hf, hf, "--min-top1", "95"], "write --min-top1 0.95 for 95 %"],
    [["parity", hf, hf, "--min-top1", "all"], "write --min-top1 0.99, for example"],
  ])("%j", async (argv, expected) => {
    expect(await help(...argv)).toEqual([2, `help: ${expected}`]);
  });

  it("a folder of a name that is nearly a command's is a source", async () => {
    const { json } = await run("inspct/x", "y", "--json");
    expect(json.error.code).toBe("NOT_FOUND");
  });

  it.each([
    ["Qwen/Qwen3-0.6B", /the model of that name on the Hub, write hf:\/\/Qwen\/Qwen3-0\.6B$/],
    ["https://huggingface.co/Qwen/Qwen3-0.6B/tree/main/sub", /write hf:\/\/Qwen\/Qwen3-0\.6B@main\/sub$/],
    ["https://example.org/model.safetensors", /fetch it first/],
    ["~/no-such-model", /the shell leaves ~ as it is in quotes/],
    [`${hf}/modle.safetensors`, /did you mean .*\/model\.safetensors\?$/],
    [`${hf}s`, /did you mean .*\/hf\?$/],
    ["./nowhere/at/all", /check the path of the checkpoint$/],
  ])("%s, where nothing is", async (path, expected) => {
    expect(await help("inspect", path)).toEqual([3, expect.stringMatching(expected)]);
    const given = await help("plan", fixture("llama3/split").native, "--config", path);
    if (!/checkpoint/.test(String(expected))) expect(given).toEqual([3, expect.stringMatching(expected)]);
  });

  it("a config that lies above the checkpoint is named", async () => {
    const folder = scratch();
    cpSync(fixture("llama3/split").native, join(folder, "checkpoint", "step-1"), { recursive: true });
    const path = join(folder, "config.json");
    expect((await help("plan", join(folder, "checkpoint", "step-1")))[1]).toMatch(
      /^help: give it with --config PATH: HF's/,
    );
    cpSync(join(hf, "config.json"), path);
    const [code, told = ""] = await help("plan", join(folder, "checkpoint", "step-1"));
    expect([code, told]).toEqual([
      3,
      expect.stringContaining(`help: give it with --config ${path}: that one lies above it`),
    ]);
    const { json } = await run("inspect", join(folder, "checkpoint", "step-1"), "--json");
    expect(json.problems[0].help).toBe(`give it with --config ${path}`);
    expect((await run("plan", join(folder, "checkpoint", "step-1"), "--config", path)).code).toBe(0);
  });

  it("completion prints a script that asks this command", async () => {
    const { code, stdout } = await run("completion");
    expect(code).toBe(0);
    expect(stdout).toContain("--get-yargs-completions");
  });
});

it("--quiet says in one line what failed", async () => {
  const source = join(scratch(), "model");
  cpSync(hf, source, { recursive: true });
  const config = JSON.parse(readFileSync(join(source, "config.json"), "utf8"));
  writeFileSync(join(source, "config.json"), JSON.stringify({ ...config, auto_map: { AutoModel: "gone.Model" } }));
  expect(await run("validate", source, "--quiet")).toMatchObject({ code: 1, stdout: "", stderr: "1 finding\n" });
  const { json, stderr } = await run("validate", source, "--quiet", "--json");
  expect([json.verdict, stderr]).toEqual(["fail", ""]);
});

it("two sets of shards in one folder: the help that names the index is followed", async () => {
  const folder = join(scratch(), "model");
  expect((await run(hf, folder, "--to", "hf", "--max-shard-size", "100kB", "--no-fsync")).code).toBe(0);
  const [shard = ""] = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  cpSync(join(folder, shard), join(folder, "model-00001-of-00009.safetensors"));
  const { json } = await run("inspect", folder, "--json");
  expect(json.error.code).toBe("SAFETENSORS_SHARD_NOT_IN_INDEX");
  const [, index = ""] = /give the path of the index that is meant, such as (.*)$/.exec(json.error.help) ?? [];
  const named = await run("inspect", index, "--json");
  expect([named.code, named.json.family, named.json.tensors.length]).toEqual([0, "llama3", 21]);
  expect((await run("validate", index)).code).toBe(0);
});
