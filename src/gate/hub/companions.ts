// What lies beside the weights of a model that people load: tokenizer, generation settings, chat template, card.
import type { Check } from "../../base/check.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import { isCompanion, isDocument, isTokenizer } from "../../formats/file-names.ts";
import { CONFIG_LIMIT, type Folder, has, readText } from "../../formats/io/folder.ts";
import type { Model } from "../../model/model.ts";
import { failed, notChecked, passed, some } from "../block.ts";
import { filesIn, isPointer, jsonIn } from "./files.ts";

export async function companionChecks({ checkpoint: { folder }, stored, family }: Model): Promise<Check[]> {
  const files = filesIn(folder);
  return [
    config(folder, stored.config.json, stored.config.folder.path),
    pointers(folder, files),
    tokenizer(folder, files),
    json(folder, "generation_config.json", "generation settings can be read"),
    await template(folder),
    ...(family.vision === undefined ? [] : [processor(folder)]),
    card(folder, files),
  ];
}

function config(folder: Folder, { model_type: type, architectures }: JsonObject, from: string): Check {
  const name = "config.json is there and names the model";
  if (from !== folder.path) return failed(name, `no config.json beside the weights, that of ${from} was used`);
  if (typeof type !== "string") return failed(name, "it names no model_type: transformers cannot tell what it is");
  const [first] = Array.isArray(architectures) ? architectures : [];
  return typeof first === "string"
    ? passed(name, `${type}, ${first}`)
    : notChecked(name, `${type}, and no architectures: Auto classes load it, pipelines and vLLM need the name`);
}

function pointers(folder: Folder, files: readonly string[]): Check {
  const name = "files are there themselves, no pointers of Git LFS";
  const found = files.filter((file) => (isCompanion(file) || file.endsWith(".json")) && isPointer(folder, file));
  return found.length === 0 ? passed(name) : failed(name, `${some(found)}: fetch them with git lfs pull`);
}

function tokenizer(folder: Folder, files: readonly string[]): Check {
  const name = "a tokenizer that can be read";
  const found = files.filter(isTokenizer);
  if (found.length === 0) return notChecked(name, "there is none beside the weights: AutoTokenizer finds none");
  const faults = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].flatMap(
    (file) => {
      const read = jsonIn(folder, file);
      return read !== null && "fault" in read ? [read.fault] : [];
    },
  );
  return faults.length > 0 ? failed(name, some(faults)) : passed(name, found.join(", "));
}

function json(folder: Folder, file: string, name: string): Check {
  const read = jsonIn(folder, file);
  if (read === null) return notChecked(name, `there is no ${file}`);
  return "fault" in read ? failed(name, read.fault) : passed(name, file);
}

const NO_TEMPLATE = "there is none: a base model has none, and a chat model needs one";

async function template(folder: Folder): Promise<Check> {
  const name = "the chat template can be read";
  const found = templatesIn(folder);
  if (found === null || found.length === 0) return notChecked(name, NO_TEMPLATE);
  const { Template } = await import("@huggingface/jinja");
  const faults = found.flatMap(({ file, text }) => {
    try {
      new Template(text);
      return [];
    } catch (error) {
      return [`${file}: ${error instanceof Error ? error.message : String(error)}`];
    }
  });
  // It has tags of its own, which not every reader knows.
  return faults.length === 0
    ? passed(name, found.map(({ file }) => file).join(", "))
    : notChecked(name, `not read here: ${some(faults)}`);
}

interface Template {
  readonly file: string;
  readonly text: string;
}

/** Wherever transformers looks for one. */
function templatesIn(folder: Folder): Template[] | null {
  const plain = "chat_template.jinja";
  if (has(folder, plain)) return [{ file: plain, text: readText(folder, plain, CONFIG_LIMIT) }];
  for (const file of ["chat_template.json", "tokenizer_config.json"]) {
    const read = jsonIn(folder, file);
    const value = read !== null && "json" in read ? read.json.chat_template : undefined;
    if (typeof value === "string") return [{ file, text: value }];
    if (!Array.isArray(value)) continue;
    return value
      .filter(isJsonObject)
      .flatMap(({ template: text }) => (typeof text === "string" ? [{ file, text }] : []));
  }
  return null;
}

function processor(folder: Folder): Check {
  const files = ["processor_config.json", "preprocessor_config.json"];
  const name = "settings of the image processor can be read";
  const read = files.map((file) => jsonIn(folder, file)).filter((each) => each !== null);
  if (read.length === 0) return notChecked(name, `there is no ${files.join(" and no ")}`);
  const faults = read.flatMap((each) => ("fault" in each ? [each.fault] : []));
  return faults.length > 0 ? failed(name, some(faults)) : passed(name);
}

const LICENCE = /^(?:licen[cs]e|license_name|license_link)\s*:/im;

/** A card is for people: what is missing is told, and fails nothing. */
function card(folder: Folder, files: readonly string[]): Check {
  const name = "a model card that names the licence";
  if (!files.includes("README.md")) return notChecked(name, "there is no README.md");
  const [, head = ""] = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readText(folder, "README.md", CONFIG_LIMIT)) ?? [];
  const licences = files.filter((file) => isDocument(file) && /licen[cs]e|copying/i.test(file));
  if (LICENCE.test(head)) return passed(name, ["README.md", ...licences].join(", "));
  return notChecked(
    name,
    `README.md has no "license:" in its head${licences.length > 0 ? `; there is ${licences[0]}` : ""}`,
  );
}
