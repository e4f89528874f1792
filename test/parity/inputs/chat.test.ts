import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { resolveInputs } from "../../../src/parity/inputs/read.ts";

const folder = mkdtempSync(join(tmpdir(), "input-chat-"));
afterAll(() => rmSync(folder, { recursive: true }));
const limits = { vocabSize: 1000, maxPositions: 4096 };

const special = (id: number, content: string) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** Adds <bos> in front of a text, as Llama's does. */
const tokenizer = {
  version: "1.0",
  added_tokens: [special(0, "<bos>"), special(1, "<user>"), special(2, "<model>"), special(3, "<end>")],
  normalizer: null,
  pre_tokenizer: { type: "Whitespace" },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<bos>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { "<bos>": { id: "<bos>", ids: [0], tokens: ["<bos>"] } },
  },
  decoder: null,
  model: { type: "WordLevel", vocab: { "<unk>": 4, hello: 5, world: 6, be: 7, kind: 8 }, unk_token: "<unk>" },
};

const TEMPLATE = `{{ bos_token }}
{%- for message in messages %}<{{ message.role }}>{{ message.content | trim }}<end>{% endfor %}
{%- if add_generation_prompt %}<model>{% endif %}`;

let homes = 0;
/** A directory of a tokenizer and whatever else there is. */
function home(files: Readonly<Record<string, string | object>>): string {
  const directory = mkdtempSync(join(folder, `${homes++}-`));
  for (const [name, content] of Object.entries({ "tokenizer.json": tokenizer, ...files })) {
    writeFileSync(join(directory, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return directory;
}

async function ids(directory: string, chat = true) {
  const request = { kind: "prompt", text: "hello world ", tokenizer: directory, chat } as const;
  return (await resolveInputs(request, limits)).input.ids_T;
}

const WITHOUT = [0, 5, 6];
const WITH = [0, 1, 5, 6, 3, 2];

describe("--chat-template", () => {
  test("is not applied unless asked for", async () => {
    expect(await ids(home({ "chat_template.jinja": TEMPLATE }), false)).toEqual(WITHOUT);
  });

  test.each([
    ["chat_template.jinja", { "chat_template.jinja": TEMPLATE, "tokenizer_config.json": { bos_token: "<bos>" } }],
    ["the tokenizer's config", { "tokenizer_config.json": { bos_token: "<bos>", chat_template: TEMPLATE } }],
    [
      "a named list",
      {
        "tokenizer_config.json": {
          bos_token: { content: "<bos>", special: true },
          chat_template: [
            { name: "tool_use", template: "no" },
            { name: "default", template: TEMPLATE },
          ],
        },
      },
    ],
    [
      "a processor's file of old",
      { "chat_template.json": { chat_template: TEMPLATE }, "special_tokens_map.json": { bos_token: "<bos>" } },
    ],
    [
      "the file of its own, where the config has another",
      {
        "chat_template.jinja": TEMPLATE,
        "tokenizer_config.json": { bos_token: "<bos>", chat_template: "{{ messages[0].content }}" },
      },
    ],
  ])("from %s wraps the prompt, with each special token once", async (_, files) => {
    expect(await ids(home(files))).toEqual(WITH);
  });

  test("has no tools or documents, as transformers says it", async () => {
    const template = "{% if tools is none and documents is none %}hello{% else %}world{% endif %}";
    expect(await ids(home({ "chat_template.jinja": template }))).toEqual([5]);
  });

  test("leaves out what the template leaves out", async () => {
    expect(await ids(home({ "chat_template.jinja": "{{ messages[0]['content'] }}" }))).toEqual([5, 6]);
  });

  test.each([
    ["none at all", {}, "CHAT_TEMPLATE_MISSING", "chat_template.jinja"],
    ["null", { "tokenizer_config.json": { chat_template: null } }, "CHAT_TEMPLATE_MISSING", "chat_template.jinja"],
    ["no text", { "tokenizer_config.json": { chat_template: 3 } }, "CHAT_TEMPLATE_INVALID", "number"],
    [
      "no default",
      { "tokenizer_config.json": { chat_template: [{ name: "rag", template: "x" }] } },
      "CHAT_TEMPLATE_INVALID",
      "rag",
    ],
    ["a syntax error", { "chat_template.jinja": "{% for %}" }, "CHAT_TEMPLATE_INVALID", "chat_template.jinja"],
    [
      "a template that refuses",
      { "chat_template.jinja": "{{ raise_exception('only pairs of messages') }}" },
      "CHAT_TEMPLATE_INVALID",
      "only pairs of messages",
    ],
  ])("%s is refused", async (_, files, code, text) => {
    const failure = await ids(home(files)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code, exitCode: 3, details: { help: expect.any(String) } });
    expect(JSON.stringify([failure, String(failure)])).toContain(text);
  });
});
