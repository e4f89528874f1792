// What the Hub says no with when it is to take something, in words.
import { HubApiError } from "@huggingface/hub";
import { ConvertCheckpointError, EnvironmentError, InputError } from "../../base/errors.ts";
import { isJsonObject } from "../../base/json.ts";
import type { HubSettings } from "../settings.ts";
import { PASSING } from "../web/pauses.ts";
import { failing, strange, unreachable } from "../web/refusals.ts";

/** Of an answer where another commit stands in the way. */
const OUTDATED: ReadonlySet<number> = new Set([409, 412]);

export const isOutdated = (error: unknown): boolean => error instanceof HubApiError && OUTDATED.has(error.statusCode);

/** Whether what was asked for may have been done all the same: an answer that nobody can read says nothing of it. */
export const isUnsure = (error: unknown): boolean =>
  error instanceof HubApiError
    ? PASSING.has(error.statusCode) || OUTDATED.has(error.statusCode)
    : !(error instanceof ConvertCheckpointError);

/** `fetch` says why in a cause; what the client says of an answer that it cannot read has none. */
const isNetworks = (error: unknown): error is TypeError => error instanceof TypeError && error.cause !== undefined;

/** What the client throws, where an answer that it cannot read is one of somebody who is no Hub. @param signal that ends it */
export function answersError(error: unknown, file: string, { endpoint }: HubSettings, signal: AbortSignal): unknown {
  const isKnown = error instanceof ConvertCheckpointError || error instanceof HubApiError || isNetworks(error);
  if (isKnown || signal.aborted || !(error instanceof Error)) return error;
  return strange(file, endpoint, error.message, error);
}

/** Addresses of storage are good for some time only: new ones come with the next question. */
export const isStorages = (error: unknown, { endpoint }: HubSettings): boolean =>
  error instanceof HubApiError &&
  error.statusCode < 500 &&
  (!error.url.startsWith(`${endpoint}/`) || error.url.startsWith(`${endpoint}/api/complete_multipart`));

const CONTINUED = "run the same again: what the Hub has is not sent again";

/** Ours stay as they are. @param file the address as the user gave it */
export function refusedPush(error: unknown, file: string, repository: string, settings: HubSettings): unknown {
  if (error instanceof ConvertCheckpointError) return error;
  const { endpoint, tokenFrom } = settings;
  if (isNetworks(error)) return unreachable(file, endpoint, error);
  if (!(error instanceof HubApiError)) return error;
  const { statusCode: status } = error;
  const found = `status ${status}: ${saidBy(error)}`;
  if (status === 401) {
    return new EnvironmentError("HUB_TOKEN_REFUSED", `${file}: the Hub refuses the token in ${tokenFrom ?? "use"}`, {
      file,
      expected: "a token that is good",
      found,
      help: `make a new one with the right to write on ${endpoint}/settings/tokens and give it in HF_TOKEN; then ${CONTINUED}`,
    });
  }
  if (status === 403) {
    return new EnvironmentError("HUB_FORBIDDEN", `${file}: the token in ${tokenFrom ?? "use"} may not write there`, {
      file,
      expected: `a token with the right to write to ${repository}`,
      found,
      help: "give one in HF_TOKEN; where you are no member, propose the files with --pr",
    });
  }
  if (isOutdated(error)) {
    return new InputError("HUB_MOVED_ON", `${file}: the branch got another commit meanwhile`, {
      file,
      expected: "the commit that was looked at",
      found,
      help: "run the same again: it shows what differs now, and sends nothing again that the Hub has",
    });
  }
  if (PASSING.has(status)) return failing(file, endpoint, found, error);
  return new InputError("HUB_REFUSES", `${file}: the Hub does not take this`, {
    file,
    found,
    help: `change what it says; then ${CONTINUED}`,
    cause: error,
  });
}

/** Without the address: that of storage holds a signature. */
function saidBy({ data, message }: HubApiError): string {
  const said = isJsonObject(data) ? (data.error ?? data.message) : undefined;
  const text = typeof said === "string" && said !== "" ? said : (message.split(/\.? URL: /)[0] ?? "");
  return /^\s*</.test(text) ? "no words" : text.trim().slice(0, 300);
}
