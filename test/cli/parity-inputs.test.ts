import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const native = join(FIXTURES, "demo/native");
const hf = join(FIXTURES, "demo/hf");
const parity = (...args: string[]) => run("parity", native, hf, "--config", hf, "--backend", "cpu", ...args);

function file(name: string, text: string): string {
  const path = join(scratch(), name);
  writeFileSync(path, text);
  return path;
}

describe("parity on several inputs", () => {
  it("takes --prompt more than once, and reports each in the order given", async () => {
    const { code, json } = await parity("--prompt", "This program is", "--prompt", "free", "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({ verdict: "pass", inputs: { kind: "prompt" } });
    const { prompts, tokens } = json.inputs;
    expect(prompts.map(({ source }: { source: string }) => source)).toEqual(["This program is", "free"]);
    expect(prompts[0].tokens).toBeGreaterThan(prompts[1].tokens);
    expect(prompts[0].tokens + prompts[1].tokens).toBe(tokens);
    expect(json.metrics.tokens).toBe(tokens);
  });

  it("reads --prompts from JSON and from lines, a leading @ being text there", async () => {
    const [list, lines] = [
      file("p.json", '["free software", "@none.txt"]'),
      file("p.txt", "free software\n@none.txt\n"),
    ];
    const [a, b] = [await parity("--prompts", list, "--json"), await parity("--prompts", lines, "--json")];
    expect([a.code, b.code]).toEqual([0, 0]);
    expect({ ...a.json.inputs, files: [] }).toEqual({ ...b.json.inputs, files: [] });
    expect(a.json.inputs.files).toMatchObject([{ option: "--prompts", path: list }]);
    expect(a.json.inputs.prompts).toHaveLength(2);
  });

  it("prints a line for each", async () => {
    const { code, stdout } = await parity("--ids", file("a.json", "[1, 2, 3]"), "--ids", file("b.json", "[4]"));
    expect(code).toBe(0);
    expect(stdout).toContain("2 × ids, 4 tokens");
    expect(stdout).toMatch(/^ *Inputs$/m);
    expect(stdout).toMatch(/1 .*a\.json +3 /);
    expect(stdout).toMatch(/2 .*b\.json +1 /);
  });

  it("prints no such list for one", async () => {
    const { stdout } = await parity("--ids", file("a.json", "[1, 2, 3]"));
    expect(stdout).not.toMatch(/^ *Inputs$/m);
  });
});

describe("inputs that cannot be", () => {
  it.each([
    ["two kinds", ["--prompt", "a", "--tokens", "600"], "INPUT_TWICE"],
    ["prompts and a file of prompts", ["--prompt", "a", "--prompts", "p.txt"], "INPUT_TWICE"],
    ["a chat template of ids", ["--ids", "a.json", "--chat-template"], "CHAT_TEMPLATE_USAGE"],
    ["a chat template of nothing", ["--chat-template"], "CHAT_TEMPLATE_USAGE"],
    ["two files of prompts", ["--prompts", "a.txt", "--prompts", "b.txt"], "OPTION_REPEATED"],
    ["an empty prompt", ["--prompt", ""], "OPTION_EMPTY"],
  ])("%s: wrong usage", async (_, args, errorCode) => {
    const { code, json } = await parity(...args, "--json");
    expect(code).toBe(2);
    expect(json.error).toMatchObject({ code: errorCode, help: expect.stringMatching(/./) });
  });

  it.each([
    ["a file of prompts that is not there", ["--prompts", "none.txt"], "NOT_FOUND"],
    ["one ids file of two that is not there", ["--ids", "none.json", "--ids", "none.json"], "NOT_FOUND"],
  ])("%s: unacceptable input", async (_, args, errorCode) => {
    const { code, json, stderr } = await parity(...args, "--json");
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: errorCode, file: expect.stringContaining("none") });
    expect(stderr).toMatch(/^error\[NOT_FOUND\]: [\s\S]*^help: /m);
  });

  it("names a file of prompts that holds none", async () => {
    const path = file("empty.txt", "\n");
    const { code, json } = await parity("--prompts", path, "--json");
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: "PROMPTS_INVALID", file: path });
  });
});
