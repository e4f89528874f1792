// --prompt: a text as the model's tokenizer, chat template and image processor turn it into tokens and patches.

import type { ImageInput } from "../../../numerics/graph.ts";
import { InputError } from "../../base/errors.ts";
import type { VisionInput } from "../../family/family.ts";
import type { PathOrLocation } from "../../formats/io/disk-folder.ts";
import type { Folder } from "../../formats/io/folder.ts";
import { imagePatches, patchDimOf } from "../images/patches.ts";
import { type ConfiguredSteps, readSteps, withoutProcessor } from "../images/steps.ts";
import { renderChat } from "./chat.ts";
import type { InputLimits, ResolvedInputs } from "./resolved.ts";
import { readText } from "./text-files.ts";
import { encode, type OpenTokenizer, openTokenizer } from "./tokenizer.ts";

export interface PromptRequest {
  readonly kind: "prompt";
  /** May be `@FILE`, unless it is literal. */
  readonly text: string;
  readonly literal?: boolean;
  /** A tokenizer.json, or a folder that holds one. */
  readonly tokenizer: PathOrLocation;
  /** Whether the text is put into the checkpoint's chat template, as one user's message. */
  readonly chat?: boolean;
  /** PNG or JPEG files: in a chat the message begins with them, else the text has a placeholder for each. */
  readonly images?: readonly string[];
  /** Where the config of the image processor may be, after the tokenizer's folder. */
  readonly processors?: readonly Folder[];
}

/** @throws InputError where the text, its tokenizer, template, images or their processor are not acceptable */
export async function resolvePrompt(request: PromptRequest, { vision }: InputLimits): Promise<ResolvedInputs> {
  const { text, literal = false, chat = false, images: files = [] } = request;
  const prompt = text.startsWith("@") && !literal ? readText(text.slice(1)) : text;
  const opened = await openTokenizer(request.tokenizer);
  // A template writes the special tokens itself.
  const ids = chat ? encode(await renderChat(prompt, opened, files.length), opened, false) : encode(prompt, opened);
  if (ids.length === 0) throw emptyPrompt(prompt, opened);
  if (vision === undefined) {
    if (files.length > 0) throw noEyes(files[0]!);
    return { input: { ids_T: ids }, about: { kind: "prompt", tokens: ids.length, source: text } };
  }
  checkPlaceholders(ids, files.length, vision, opened, chat);
  if (files.length === 0) return { input: { ids_T: ids }, about: { kind: "prompt", tokens: ids.length, source: text } };
  if (vision.processor === undefined) throw withoutProcessor(files[0]!);
  const configured = readSteps([opened.folder, ...(request.processors ?? [])], vision.processor);
  checkSteps(configured, vision);
  const images = await imagePatches(files, configured);
  const ids_T = expand(ids, images, configured.steps.around, vision, opened);
  const about = { kind: "prompt", tokens: ids_T.length, images: files.length, source: text } as const;
  return { input: { ids_T, images }, about };
}

/** Each placeholder becomes the tokens of its image. */
function expand(
  ids: readonly number[],
  { grids }: ImageInput,
  around: ConfiguredSteps["steps"]["around"],
  { imageToken, mergeSize }: VisionInput,
  opened: OpenTokenizer,
): number[] {
  const [before, after] = around?.map((token) => [idOf(token, opened)]) ?? [];
  const tokens = grids.map(([t, h, w]) => Array<number>((t * h * w) / mergeSize ** 2).fill(imageToken));
  const next = tokens.values();
  return ids.flatMap((id) =>
    id === imageToken ? [...(before ?? []), ...(next.next().value ?? []), ...(after ?? [])] : id,
  );
}

function idOf(token: string, { tokenizer, file }: OpenTokenizer): number {
  const id = tokenizer.token_to_id(token);
  if (id !== undefined) return id;
  throw new InputError("TOKENIZER_INVALID", `${file}: its vocabulary has no "${token}", which stands beside images`, {
    file,
    expected: token,
    found: "no such token",
    help: "give --tokenizer the tokenizer.json of this model",
  });
}

function checkPlaceholders(
  ids: readonly number[],
  images: number,
  { imageToken }: VisionInput,
  { tokenizer, file }: OpenTokenizer,
  chat: boolean,
): void {
  const found = ids.filter((id) => id === imageToken).length;
  if (found === images) return;
  const name = tokenizer.id_to_token(imageToken) ?? `id ${imageToken}`;
  const message = `image placeholders (${name}) in the prompt: ${found}, images given: ${images}`;
  throw new InputError("IMAGE_PLACEHOLDERS", message, {
    file,
    expected: `${images}, one for each --image`,
    found: String(found),
    help: chat
      ? "the chat template places the images: leave placeholders out of the prompt, or leave out --chat-template"
      : `write ${name} into the prompt once for each --image, or let --chat-template place them`,
  });
}

/** What the processor makes has to be what the model takes. */
function checkSteps({ file, steps }: ConfiguredSteps, { patchDim, mergeSize }: VisionInput): void {
  const made = patchDimOf(steps);
  if (made === patchDim && steps.mergeSize === mergeSize) return;
  throw new InputError("PROCESSOR_MISMATCH", `${file}: makes other patches than the model takes`, {
    file,
    expected: `patches of ${patchDim} values, merged ${mergeSize} by ${mergeSize}`,
    found: `patches of ${made} values, merged ${steps.mergeSize} by ${steps.mergeSize}`,
    help: "check patch_size, temporal_patch_size and merge_size against the model's vision_config",
  });
}

const emptyPrompt = (prompt: string, { file }: OpenTokenizer): InputError =>
  new InputError("PROMPT_EMPTY", "the prompt has no tokens", {
    file,
    expected: "at least one token",
    found: JSON.stringify(prompt.slice(0, 40)),
    help: "give a longer --prompt, or leave it out to compare on random ids",
  });

const noEyes = (file: string): InputError =>
  new InputError("INPUT_NOT_SUPPORTED", `${file}: this model takes no images`, {
    file,
    expected: "text as its only modality",
    found: "--image",
    help: "leave out --image",
  });
