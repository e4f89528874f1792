// The form of a gate file, as JSON Schema: editors complete by it (docs/schema/gate.schema.json, written from here), and files
// are read by it.
import { BACKEND_CHOICES, ROUTING_CHOICES } from "../../parity/choices.ts";
import { BLOCKS } from "../block.ts";
import { PROFILES } from "../profile.ts";

type Json = Readonly<Record<string, unknown>>;

const object = (description: string, properties: Json, required: readonly string[] = []): Json => ({
  type: "object",
  description,
  additionalProperties: false,
  ...(required.length > 0 ? { required } : {}),
  properties,
});
const text = (description: string, more: Json = {}): Json => ({ type: "string", minLength: 1, description, ...more });
const choice = (description: string, values: readonly string[]): Json => ({ enum: values, description });
const list = (description: string, items: Json, more: Json = {}): Json => ({
  type: "array",
  description,
  items,
  ...more,
});
const texts = (description: string, item: string): Json => list(description, text(item));

const reason = text("Why it may stand. Reports repeat it.");

const inputs = object("What models are run on. Without it, 512 random ids. One kind of input.", {
  tokens: {
    type: "integer",
    minimum: 1,
    description: "Number of random ids; at least 512 are made, as shorter inputs hide faults of positions.",
  },
  ids: texts("Token ids.", "A JSON array of token ids: path, relative to this file."),
  prompts: texts("Texts, put into tokens by the model's own tokenizer.", "A text, or @ and the path of one."),
  files: texts(
    "Inputs of models that see.",
    "safetensors with input_ids, pixel_values, image_grid_thw: path, relative to this file.",
  ),
  chatTemplate: {
    type: "boolean",
    description: "Whether prompts are put into the chat template, as a user's message.",
  },
  images: texts("PNG or JPEG files that go with each prompt.", "Path, relative to this file."),
  tokenizer: text("tokenizer.json, or a folder that holds one; the checkpoint's unless given. Relative to this file."),
});

const limits = object("How much may differ. Without them, limits follow from the noise floor of the same run.", {
  maxKl: {
    type: "number",
    minimum: 0,
    description: "Largest mean KL in nats per token. Under the profile `cast`: what the cast may cost.",
  },
  minTop1: {
    type: "number",
    minimum: 0,
    maximum: 1,
    description: "Smallest share of positions with the same most likely token.",
  },
  maxRam: text("Memory that the run may take; refused up front where that is impossible.", {
    pattern: "^[0-9.]+ *([kMGT]i?)?B$",
    examples: ["8GB"],
  }),
});

const accept = object("Differences that may stand, each with a reason.", {
  known: list(
    "Known differences between upstreams, by their codes (docs/upstream-bugs.md).",
    object(
      "One of them.",
      {
        code: text("Its code.", { pattern: "^[A-Z][A-Z0-9_]*$", examples: ["SLIDING_WINDOW"] }),
        maxKl: {
          type: "number",
          minimum: 0,
          description: "The most that it may move the mean KL by, in nats per token.",
        },
        reason,
      },
      ["code", "reason"],
    ),
  ),
  weights: list(
    "Weights that may differ.",
    object("Some of them.", { tensors: text("A pattern over Hugging Face keys."), reason }, ["tensors", "reason"]),
  ),
  config: list(
    "Fields of config.json that may differ.",
    object("One of them.", { field: text("Its name, as reports have it."), reason }, ["field", "reason"]),
  ),
});

const checks = list("What is looked at; all of it unless given.", choice("A block of the page.", BLOCKS), {
  minItems: 1,
  uniqueItems: true,
});
const require = texts(
  "What has to be checked: the gate fails where it could not be.",
  "A block (`parity`), or the beginning of a check's name (`hub: a tokenizer`).",
);

const checkpoint = object(
  "A checkpoint, or a pair of the same model.",
  {
    name: text("How reports call it; its paths unless given."),
    source: text("A checkpoint's folder or file, in any layout. Relative to this file."),
    target: text(
      "The other side, in any layout; without it, one checkpoint is checked on its own. Relative to this file.",
    ),
    config: text("config.json, or a folder that holds one, for a side that has none; the other side's unless given."),
    sourceConfig: text("config.json of the source alone; overrides its own."),
    targetConfig: text("config.json of the target alone; overrides its own."),
    family: text("Model family, where detection cannot tell."),
    layout: text("Layout of the keys, where detection cannot tell."),
    profile: choice(
      "What the sides are to each other; detected unless given. `same bytes`: equal bit for bit. `same type`: may differ by a rounding. `cast`: one is exactly the rounding of the other. `quantised`: one is stored as codes.",
      PROFILES,
    ),
    goldens: texts(
      "Recorded logits that the target, or the only side, is compared with.",
      "safetensors with input_ids and logits: path, relative to this file.",
    ),
    seal: text("A seal, whose model the target, or the only side, has to be. Relative to this file."),
    inputs,
    checks,
    require,
    limits,
    accept,
  },
  ["source"],
);

export const GATE_SCHEMA = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "A gate of convert-checkpoint",
  ...object(
    "What `convert-checkpoint gate` checks. `checkpoints` suffices; what stands beside it holds for each of them, unless it says otherwise itself.",
    {
      $schema: text("This schema, so that editors complete and explain."),
      checkpoints: list("What is checked, in this order.", checkpoint, { minItems: 1 }),
      inputs,
      checks,
      require,
      limits,
      accept,
      backend: choice("Where it is computed; `auto` unless given.", BACKEND_CHOICES),
      routing: choice("Whether the second side takes the first one's experts; `free` unless given.", ROUTING_CHOICES),
      upstream: texts(
        "Versions whose mathematics is run.",
        "A version as PROJECT=VERSION, such as `transformers=5.24`.",
      ),
      adapters: texts("Families from outside.", "A module: path, relative to this file."),
      reports: texts(
        "Reports to write: .json .xml (JUnit) .md .html, or $GITHUB_STEP_SUMMARY, which is left out where it is not set.",
        "Path, relative to this file.",
      ),
    },
    ["checkpoints"],
  ),
} as const;
