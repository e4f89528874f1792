// What a repository of the Hub needs beside its weights goes along, both ways, and what does not is named.
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { expect, it } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { validate } from "../../src/verify/validate.ts";
import { converted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf } = fixture("llama3/split");

/** Text files by name; folders are made for them. */
function put(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

const withMap = (folder: string, map: object): string => {
  const json = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  return JSON.stringify({ ...json, auto_map: map });
};

const ALONG = {
  "tiktoken.model": "tokens",
  "additional_chat_templates/tool_use.jinja": "{{ tools }}",
  LICENSE: "licence",
  "LICENSE-MODEL.txt": "another",
  NOTICE: "notice",
  "USE_POLICY.md": "policy",
  "README.md": "---\nlicense: other\n---",
  ".gitattributes": "*.safetensors filter=lfs",
  "configuration_own.py": "from transformers import PretrainedConfig",
  "modeling_own.py": "from .configuration_own import Config\nfrom . import (  # two\n    first as f,\n    second,\n)\n",
  "first.py": "import .third",
  "second.py": "from .package.inner import x",
  "third.py": "from .modeling_own import Model",
  "package/__init__.py": "",
  "package/inner.py": "",
  "tokenization_own.py": "",
  "tokenizer_config.json": '{"auto_map": {"AutoTokenizer": ["tokenization_own.Own", null]}}',
};
const BEHIND = {
  "unused.py": "",
  "setup.sh": "",
  "additional_chat_templates/notes.txt": "",
  "original/params.json": "{}",
  "optimizer.bin": "",
  "license.py": "",
};

function hubFolder(): string {
  const folder = join(scratch(), "source");
  cpSync(hf, folder, { recursive: true });
  put(folder, { ...ALONG, ...BEHIND });
  put(folder, {
    "config.json": withMap(folder, {
      AutoConfig: "configuration_own.Config",
      AutoModel: "modeling_own.Model",
      AutoModelForCausalLM: "organisation/repository--modeling_far.Model",
    }),
  });
  return folder;
}

it("goes along to the trainer's side and comes back byte for byte; what stays is listed", async () => {
  const [source, work] = [hubFolder(), scratch()];
  const there = await converted(source, join(work, "native"));
  const back = await converted(join(work, "native"), join(work, "back"));
  for (const name of Object.keys(ALONG)) {
    expect(readFileSync(join(work, "back", name), "utf8"), name).toBe(readFileSync(join(source, name), "utf8"));
  }
  expect(there.leftBehind).toEqual([
    "additional_chat_templates/notes.txt",
    "license.py",
    "optimizer.bin",
    "original/",
    "setup.sh",
    "unused.py",
  ]);
  expect(there.notes.join("\n")).toContain("left beside the source: additional_chat_templates/notes.txt, license.py");
  expect(back.leftBehind).toEqual([]);
  const files = back.files.map(({ name }) => name);
  expect(new Set(files).size).toBe(files.length);
});

it("a README of a folder that holds no model stays where it is", async () => {
  const folder = join(scratch(), "program");
  mkdirSync(folder);
  cpSync(fixture("llama3/split").native, folder, { recursive: true });
  put(folder, { "README.md": "a program", LICENSE: "of a program" });
  const { leftBehind, notes } = await converted(folder, join(scratch(), "out"), { config: hf });
  expect(leftBehind).toEqual(["LICENSE", "README.md"]);
  expect(notes).toContain("no tokenizer beside the source: what is written is not ready for the Hub");
});

it("a target that is one file leaves all of it behind", async () => {
  const { leftBehind } = await converted(hubFolder(), join(scratch(), "out.safetensors"));
  expect(leftBehind).toEqual(expect.arrayContaining([...Object.keys(ALONG), "unused.py"]));
});

it("text of a size that no text has is left behind", async () => {
  const source = hubFolder();
  truncateSync(join(source, "NOTICE"), 2 ** 25);
  const { leftBehind } = await converted(source, join(scratch(), "out"));
  expect(leftBehind).toContain("NOTICE");
});

it("validate finds code that a config names and the folder lacks", async () => {
  const source = hubFolder();
  const findings = async () => {
    const checkpoint = openCheckpoint(source);
    const { verdict, differences } = await validate(openModel(checkpoint, { adapters }));
    checkpoint.close();
    return [verdict, differences.map(({ kind, key }) => [kind, key])];
  };
  expect(await findings()).toEqual(["pass", []]);
  rmSync(join(source, "tokenization_own.py"));
  expect(await findings()).toEqual(["fail", [["file", "tokenization_own.py"]]]);
  const { notes } = await converted(source, join(scratch(), "out"));
  expect(notes.join("\n")).toContain("tokenizer_config.json names tokenization_own.py in auto_map");
});

it.each([["../../secret.Class"], ["/etc/passwd.Class"], [{ deep: [["no.such.module"]] }]])(
  "a module is a name in the folder, never a path: %j",
  async (name) => {
    const source = hubFolder();
    put(dirname(source), { "secret.py": "SECRET" });
    put(source, { "config.json": withMap(source, { AutoModel: name }) });
    const { files } = await converted(source, join(scratch(), "out"));
    expect(files.map((file) => basename(file.name))).not.toContain("secret.py");
  },
);

it("a link that leads out of the folder is refused, one into the Hub's cache is followed", async () => {
  const root = scratch();
  const source = hubFolder();
  const secret = join(root, "secret");
  writeFileSync(secret, "SECRET");
  rmSync(join(source, "LICENSE"));
  symlinkSync(secret, join(source, "LICENSE"));
  const refused = converted(source, join(root, "out"));
  await expect(refused).rejects.toMatchObject({ code: "LINK_OUTSIDE", details: { file: join(source, "LICENSE") } });
  rmSync(join(source, "LICENSE"));
  symlinkSync("NOTICE", join(source, "LICENSE"));
  const blobs = join(root, "models--o--n", "blobs");
  const blob = join(blobs, "a".repeat(40));
  put(blobs, { ["a".repeat(40)]: "from the cache" });
  rmSync(join(source, "README.md"));
  symlinkSync(blob, join(source, "README.md"));
  await converted(source, join(root, "out"));
  expect(readFileSync(join(root, "out", "LICENSE"), "utf8")).toBe("notice");
  expect(readFileSync(join(root, "out", "README.md"), "utf8")).toBe("from the cache");
  expect(readdirSync(root)).not.toContain("out-partial");
});

it("--to raw copies no config from elsewhere", async () => {
  const [source, root] = [hubFolder(), scratch()];
  put(root, { "private.json": '{"auths": {}}' });
  rmSync(join(source, "config.json"));
  symlinkSync(join(root, "private.json"), join(source, "config.json"));
  await expect(converted(source, join(root, "out"), { to: "raw" })).rejects.toMatchObject({ code: "LINK_OUTSIDE" });
});

it("--force replaces what it wrote itself, and never a README that somebody wrote", async () => {
  const [source, target] = [hubFolder(), join(scratch(), "out")];
  await converted(source, target);
  await converted(source, target, { force: true });
  writeFileSync(join(target, "README.md"), "---\nlicense: mine! \n---");
  const again = converted(source, target, { force: true });
  await expect(again).rejects.toMatchObject({ code: "TARGET_UNSAFE", message: expect.stringContaining("README.md") });
});
