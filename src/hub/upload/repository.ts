// A repository as a push finds it: whether it is there, at which commit, and what is in it.
import { createBranch, createRepo, HubApiError } from "@huggingface/hub";
import { ConvertCheckpointError, InputError } from "../../base/errors.ts";
import { decodeUtf8 } from "../../formats/io/folder.ts";
import type { HubAddress } from "../address.ts";
import { HubClient } from "../client.ts";
import type { HubSettings } from "../settings.ts";
import type { Snapshot } from "../wire.ts";
import { writingFetch } from "./writing-fetch.ts";

/** Throws ConvertCheckpointError. */
export async function standingAt(
  settings: HubSettings,
  address: HubAddress,
  shown: string,
): Promise<Snapshot | "no repository" | "no branch"> {
  try {
    return await new HubClient(settings).snapshot(address, shown);
  } catch (error) {
    if (!(error instanceof ConvertCheckpointError)) throw error;
    if (error.code === "HUB_NOT_FOUND") return "no repository";
    if (error.code === "HUB_REVISION_NOT_FOUND") return "no branch";
    throw error;
  }
}

/** All of a text. Throws ConvertCheckpointError, also where it is not UTF-8: it is to be written back as it was. */
export async function textAt(
  settings: HubSettings,
  { files, ...snapshot }: Snapshot,
  path: string,
  shown: string,
): Promise<string> {
  const file = files.get(path);
  if (file === undefined) return "";
  const parts: Uint8Array[] = [];
  const remote = { ...file, snapshot, path, key: path, shown };
  for await (const part of new HubClient(settings).bytes(remote, 0, file.size)) parts.push(Uint8Array.from(part));
  return decodeUtf8(
    Buffer.concat(parts),
    (cause) =>
      new InputError("TEXT_NOT_UTF8", `${shown}: is not valid UTF-8`, {
        file: shown,
        help: "save it there as UTF-8: what is written back has to be what was there",
        cause,
      }),
  );
}

/** The client insists on one of this form; our `fetch` puts the real one in its place. */
const ANY_TOKEN = "hf_";

/** Throws HubApiError. */
export async function makeRepository(
  settings: HubSettings,
  repository: string,
  isPublic: boolean,
  signal: AbortSignal,
): Promise<void> {
  await unlessThere(() =>
    createRepo({
      repo: { type: "model", name: repository },
      visibility: isPublic ? "public" : "private",
      accessToken: ANY_TOKEN,
      hubUrl: settings.endpoint,
      fetch: writingFetch(settings, signal),
    }),
  );
}

/** An empty one: what is pushed shares nothing with what other branches hold. Throws HubApiError. */
export async function makeBranch(
  settings: HubSettings,
  repository: string,
  branch: string,
  signal: AbortSignal,
): Promise<void> {
  await unlessThere(() =>
    createBranch({
      repo: { type: "model", name: repository },
      branch,
      empty: true,
      hubUrl: settings.endpoint,
      fetch: writingFetch(settings, signal),
    }),
  );
}

/** An earlier try may have made it, and its answer was lost. */
async function unlessThere(make: () => Promise<unknown>): Promise<void> {
  try {
    await make();
  } catch (error) {
    if (!(error instanceof HubApiError && error.statusCode === 409)) throw error;
  }
}
