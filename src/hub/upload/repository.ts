// A repository as a push finds it: whether it is there, at which commit, and what is in it.
import { createBranch, createRepo, HubApiError } from "@huggingface/hub";
import { ConvertCheckpointError } from "../../base/errors.ts";
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

/** All of a small file. Throws ConvertCheckpointError. */
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
  return Buffer.concat(parts).toString("utf8");
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
