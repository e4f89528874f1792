// What a push is refused for before anything is sent.
import { EnvironmentError, InputError, UsageError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { HubAddress } from "../hub/address.ts";
import { contested, type FileChange } from "./difference.ts";
import { REPOSITORYS_OWN } from "./local.ts";
import { type PushRequest, prefixOf } from "./work.ts";

/** Throws UsageError PUSH_PLACE; EnvironmentError HUB_OFFLINE, HUB_TOKEN_MISSING. */
export function checkPlace({ type, revision }: HubAddress, shown: string, { settings }: PushRequest): void {
  if (type !== "model" || (revision !== null && /^(?:[0-9a-f]{40}$|refs\/)/.test(revision))) {
    throw new UsageError("PUSH_PLACE", `${shown}: not a branch of a model's repository`, {
      expected: "hf://owner/name, or hf://owner/name@branch",
      found: type === "model" ? `revision ${revision}` : "a dataset",
      help: "name a branch, or none for main; --pr opens a pull request",
    });
  }
  if (settings.offline !== null) {
    throw new EnvironmentError("HUB_OFFLINE", `${shown}: ${settings.offline} is set, and a push needs the network`, {
      file: shown,
      help: `unset ${settings.offline}`,
    });
  }
  if (settings.token !== null) return;
  throw new EnvironmentError("HUB_TOKEN_MISSING", `${shown}: a push needs a token`, {
    file: shown,
    expected: "a token with the right to write",
    found: "none in HF_TOKEN, and none of `hf auth login`",
    help: `make one on ${settings.endpoint}/settings/tokens and give it in HF_TOKEN, or log in: hf auth login`,
  });
}

export const nothingToPropose = ({ repository }: HubAddress, shown: string): InputError =>
  new InputError("HUB_NOT_FOUND", `${shown}: no repository ${repository}, so that nothing can be proposed to it`, {
    file: shown,
    help: "check the name, or push without --pr, which makes the repository",
  });

const SHOWN = 8;

/** A file alone would take along whatever is beside it. Throws UsageError PUSH_NOT_A_FOLDER. */
export function checkFolder({ path, folder }: Checkpoint): void {
  if (path === folder.path) return;
  throw new UsageError("PUSH_NOT_A_FOLDER", `${path}: not the folder of a checkpoint`, {
    expected: "the folder that holds the checkpoint, with its config and its card",
    found: "a file",
    help: `push its folder: ${folder.path}`,
  });
}

/** Throws InputError PUSH_REPLACES. */
export function refuseReplacing(
  address: HubAddress,
  shown: string,
  { force = false, pullRequest = false, dryRun = false }: PushRequest,
  changes: readonly FileChange[],
): void {
  // A pull request replaces nothing until somebody takes it.
  if (force || pullRequest || dryRun) return;
  const found = contested(changes, prefixOf(address));
  if (found.length === 0) return;
  throw new InputError("PUSH_REPLACES", `${shown}: the repository holds other files`, {
    file: shown,
    expected: "a repository without other content, or --force",
    found: some(found.map(({ path, change }) => `${path} (${change})`)),
    help: "look at all of it with --dry-run; then push with --force, which replaces and deletes these and leaves what is kept, or propose it with --pr",
  });
}

/** Of a repository or a branch that was not there when it was looked for. Throws InputError HUB_MOVED_ON. */
export function refuseMadeMeanwhile(address: HubAddress, shown: string, files: readonly string[]): void {
  const others = files.filter((path) => path.startsWith(prefixOf(address)) && path !== REPOSITORYS_OWN);
  if (others.length === 0) return;
  throw new InputError("HUB_MOVED_ON", `${shown}: somebody else made and filled it meanwhile`, {
    file: shown,
    expected: "nothing there, as before",
    found: some(others),
    help: "run the same again: it shows what differs from what is there now",
  });
}

const some = (words: readonly string[]): string =>
  words.slice(0, SHOWN).join(", ") + (words.length > SHOWN ? ` and ${words.length - SHOWN} more` : "");
