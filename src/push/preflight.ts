// Whether a push could be made at all, before hours of work: by the names and sizes that will be written.
import type { HubAddress } from "../hub/address.ts";
import { hubAddressOf } from "../hub/address.ts";
import { refusedPush } from "../hub/upload/refused.ts";
import { standingAt } from "../hub/upload/repository.ts";
import { CARD_NAME } from "./card/section.ts";
import { differencesOf } from "./difference.ts";
import { checkPlace, nothingToPropose, refuseReplacing } from "./refusals.ts";
import { filesThere, type PushRequest, prefixOf } from "./work.ts";

/** Throws as `push` does before it looks at files. @param files that will be written */
export async function preflight(
  address: HubAddress,
  files: readonly { readonly name: string; readonly byteLength: number }[],
  request: PushRequest,
): Promise<void> {
  const shown = hubAddressOf(address);
  checkPlace(address, shown, request);
  const { settings, pullRequest = false } = request;
  try {
    const standing = await standingAt(settings, address, shown);
    if (standing === "no repository" && pullRequest) throw nothingToPropose(address, shown);
    const folder = prefixOf(address);
    const there = new Map([...filesThere({ standing })].filter(([path]) => path !== folder + CARD_NAME));
    const planned = files.map(({ name, byteLength: bytes }) => ({
      path: folder + name,
      bytes,
      // What has the same size may be the same: that shows when it is written.
      isSame: async ({ size }: { readonly size: number }) => size === bytes,
    }));
    refuseReplacing(address, shown, request, await differencesOf(planned, there, folder));
  } catch (error) {
    throw refusedPush(error, shown, address.repository, settings);
  }
}
