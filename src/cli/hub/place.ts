// What `push` and `convert --push` share.
import { schemeOf } from "../../base/addresses.ts";
import { UsageError } from "../../base/errors.ts";
import type { HubAddress } from "../../hub/address.ts";
import type { FileChange } from "../../push/difference.ts";
import { changesText } from "../../report/views/push.ts";
import type { Context } from "../command.ts";

export interface HubPlace {
  readonly address: HubAddress;
  /** As it is written. */
  readonly shown: string;
}

/** Throws UsageError PUSH_PLACE; InputError HUB_ADDRESS. */
export async function hubPlace(text: string): Promise<HubPlace> {
  const { HUB_SCHEME, hubAddressOf, parseHubAddress } = await import("../../hub/address.ts");
  if (schemeOf(text) !== HUB_SCHEME) {
    throw new UsageError("PUSH_PLACE", `${text}: no place on the Hub`, {
      expected: "hf://owner/name",
      found: text,
      help: /^[\w.-]+\/[\w.-]+$/.test(text) ? `write hf://${text}` : "write it as hf://owner/name",
    });
  }
  const address = parseHubAddress(text);
  return { address, shown: hubAddressOf(address) };
}

/** Prints what would change in a repository that holds something else, before anything does. */
export const differencesShown =
  ({ print }: Context) =>
  (changes: readonly FileChange[]): void => {
    if (changes.some(({ remoteBytes, change }) => remoteBytes !== null && change !== "same")) {
      print(`In the repository:\n${changesText(changes)}\n\n`);
    }
  };
