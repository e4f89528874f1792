// What the Hub says no with, in words.
import { type ConvertCheckpointError, EnvironmentError, InputError } from "../../base/errors.ts";
import type { HubSettings } from "../settings.ts";

/** What was asked for, for messages. */
export interface Asked {
  /** As the user gave it. */
  readonly file: string;
  readonly repository: string;
  readonly revision: string | null;
}

type Access = Pick<HubSettings, "endpoint" | "token" | "tokenFrom">;

/** The error of an answer that is none: its reason stands in headers. Takes the body. */
export async function refusal(response: Response, asked: Asked, access: Access): Promise<ConvertCheckpointError> {
  const { file, repository, revision } = asked;
  const { endpoint, tokenFrom } = access;
  const code = response.headers.get("X-Error-Code");
  const said = response.headers.get("X-Error-Message") ?? (await textOf(response));
  const { status } = response;
  const found = `status ${status}${said === "" ? "" : `: ${said}`}`;
  const page = `${endpoint}/${repository}`;
  if (code === "GatedRepo" || (status === 403 && /gated|restricted/i.test(said))) {
    const first = tokenFrom === null ? "and give its token in HF_TOKEN" : `as the account of the token in ${tokenFrom}`;
    return new EnvironmentError("HUB_GATED", `${file}: access to ${repository} must be asked for`, {
      file,
      found,
      help: `ask for access on ${page} ${first}`,
    });
  }
  if (code === "RevisionNotFound") {
    return new InputError("HUB_REVISION_NOT_FOUND", `${file}: ${repository} has no revision "${revision ?? "main"}"`, {
      file,
      expected: "a branch, a tag, refs/pr/N or a commit",
      found,
      help: `see ${page}/tree/main for its branches and commits; a slash in the name of one is written %2F`,
    });
  }
  if (code === "EntryNotFound") {
    return new InputError("FILE_MISSING", `${file}: is not in the repository`, {
      file,
      found,
      help: `see ${page}/tree/${encodeURIComponent(revision ?? "main")} for what is`,
    });
  }
  if (code === "RepoNotFound" || status === 404 || (status === 401 && tokenFrom === null)) {
    const login = "if it is private, give a token that may read it in HF_TOKEN, or log in: hf auth login";
    const may = `check the name; if it is private, the token in ${tokenFrom} must be allowed to read it`;
    return new InputError(
      "HUB_NOT_FOUND",
      `${file}: no repository ${repository} on ${endpoint}, or none that may be seen`,
      {
        file,
        found,
        help: tokenFrom === null ? `check the name; ${login}` : may,
      },
    );
  }
  if (status === 401) {
    return new EnvironmentError("HUB_TOKEN_REFUSED", `${file}: the Hub refuses the token in ${tokenFrom}`, {
      file,
      expected: "a token that is good",
      found,
      help: `make a new one on ${endpoint}/settings/tokens and give it in HF_TOKEN, or log in again: hf auth login`,
    });
  }
  if (status === 403) {
    return new EnvironmentError("HUB_FORBIDDEN", `${file}: the Hub does not give access to ${repository}`, {
      file,
      found,
      help: tokenFrom === null ? "give a token in HF_TOKEN" : `the token in ${tokenFrom} lacks the right to read it`,
    });
  }
  return failing(file, endpoint, found);
}

/** Of a server that stays as it is, however often it is asked. */
export const failing = (file: string, place: string, found: string, cause?: unknown): EnvironmentError =>
  new EnvironmentError("HUB_FAILS", `${file}: ${place} does not give what was asked for`, {
    file,
    found,
    help: "run again later; a conversion goes on with --resume",
    ...(cause === undefined ? {} : { cause }),
  });

/** Of an answer that no Hub gives: whoever answers is another one, such as the page of a network that wants a login. */
export const strange = (file: string, place: string, found: string, cause?: unknown): EnvironmentError =>
  new EnvironmentError("HUB_FAILS", `${file}: ${place} does not answer as a Hub does`, {
    file,
    expected: "JSON, as the Hub's interface gives it",
    found,
    help: "check HF_ENDPOINT, and whether a proxy or a login page of the network answers in its place",
    ...(cause === undefined ? {} : { cause }),
  });

export const unreachable = (file: string, place: string, cause: unknown): EnvironmentError =>
  new EnvironmentError("HUB_UNREACHABLE", `${file}: ${place} cannot be reached (${reasonOf(cause)})`, {
    file,
    help: "check the network, HF_ENDPOINT and the proxies (HTTPS_PROXY, NO_PROXY); HF_HUB_OFFLINE=1 takes what the cache has",
    cause,
  });

/** `fetch` says "fetch failed", and why in a cause of the cause. */
export function reasonOf(error: unknown): string {
  let reason = String(error);
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = "code" in at ? String(at.code) : "";
    const inner = at instanceof AggregateError ? at.errors.find((each) => each instanceof Error)?.message : undefined;
    reason = at.message || inner || code;
    if (code !== "" && !reason.includes(code)) reason += ` (${code})`;
  }
  return reason;
}

async function textOf(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === "object" && json !== null && "error" in json) return String(json.error).slice(0, 300);
  } catch {}
  return /^\s*</.test(text) ? "" : text.trim().slice(0, 300);
}
