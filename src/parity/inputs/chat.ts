// --chat-template: the prompt as one user's message, in the form that the model was tuned on.
import { InputError } from "../../base/errors.ts";
import { isJsonObject } from "../../base/json.ts";
import { CONFIG_LIMIT, type Folder, has, readText } from "../../formats/io/folder.ts";
import { messageOf, readJsonObject } from "./text-files.ts";
import { type OpenTokenizer, TOKENIZER_CONFIG } from "./tokenizer.ts";

interface ChatTemplate {
  readonly file: string;
  readonly text: string;
}

const TEMPLATE_FILE = "chat_template.jinja";
/** As processors wrote it before transformers 4.52. */
const LEGACY_FILE = "chat_template.json";
const HELP = "leave out --chat-template, and write the prompt as the model is to see it";

/**
 * What transformers' `apply_chat_template(messages, add_generation_prompt=True)` renders.
 *
 * @param images number of images that the message begins with
 * @throws InputError CHAT_TEMPLATE_MISSING or CHAT_TEMPLATE_INVALID
 */
export async function renderChat(prompt: string, opened: OpenTokenizer, images: number): Promise<string> {
  const template = findTemplate(opened);
  const { Template } = await import("@huggingface/jinja");
  const parts = [...Array<object>(images).fill({ type: "image" }), { type: "text", text: prompt }];
  try {
    return new Template(template.text).render({
      ...specialTokens(opened),
      messages: [{ role: "user", content: images === 0 ? prompt : parts }],
      // None, which templates tell from undefined.
      tools: null,
      documents: null,
      add_generation_prompt: true,
    });
  } catch (cause) {
    throw new InputError("CHAT_TEMPLATE_INVALID", `${template.file}: the chat template fails: ${messageOf(cause)}`, {
      file: template.file,
      cause,
      help: HELP,
    });
  }
}

/** In the order in which transformers looks. */
function findTemplate({ folder, config }: OpenTokenizer): ChatTemplate {
  const file = folder.pathOf(TEMPLATE_FILE);
  if (has(folder, TEMPLATE_FILE)) return { file, text: readText(folder, TEMPLATE_FILE, CONFIG_LIMIT) };
  const found = has(folder, LEGACY_FILE)
    ? readTemplate(
        readJsonObject(folder, { name: LEGACY_FILE, code: "CHAT_TEMPLATE_INVALID", help: HELP }).chat_template,
        folder.pathOf(LEGACY_FILE),
      )
    : null;
  return found ?? readTemplate(config.chat_template, folder.pathOf(TOKENIZER_CONFIG)) ?? missing(folder);
}

/** A template, or a list of named ones, of which it is the one called `default`. */
function readTemplate(value: unknown, file: string): ChatTemplate | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "string") return { file, text: value };
  const named = Array.isArray(value) ? value.filter(isJsonObject) : [];
  const text = named.find(({ name }) => name === "default")?.template;
  if (typeof text === "string") return { file, text };
  throw new InputError("CHAT_TEMPLATE_INVALID", `${file}: "chat_template" is no template`, {
    file,
    expected: 'a string, or a list with one of name "default"',
    found: named.length > 0 ? named.map(({ name }) => String(name)).join(", ") : typeof value,
    help: HELP,
  });
}

function missing({ path }: Folder): never {
  throw new InputError("CHAT_TEMPLATE_MISSING", `${path}: the tokenizer has no chat template`, {
    file: path,
    expected: `${TEMPLATE_FILE}, or "chat_template" in tokenizer_config.json`,
    found: "neither",
    help: `put ${TEMPLATE_FILE} beside tokenizer.json, or leave out --chat-template`,
  });
}

/** `bos_token` and the like, which templates write out. */
function specialTokens({ folder, config }: OpenTokenizer): Readonly<Record<string, string>> {
  const name = "special_tokens_map.json";
  const map = has(folder, name) ? readJsonObject(folder, { name, code: "TOKENIZER_INVALID", help: HELP }) : {};
  const all = { ...map, ...config };
  return Object.fromEntries(
    Object.entries(all).flatMap(([name, value]) => {
      const token = isJsonObject(value) ? value.content : value;
      return name.endsWith("_token") && typeof token === "string" ? [[name, token]] : [];
    }),
  );
}
