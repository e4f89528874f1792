// How the Hub is reached, from the variables that its Python client reads.
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { EnvironmentError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly token: string | null;
  /** Where the token was found, for messages. */
  readonly tokenFrom: string | null;
  /** The folder of `models--owner--name`. */
  readonly cache: string;
  /** The variable that forbids the network; null where none does. */
  readonly offline: string | null;
  /** How long an answer, or the next bytes of one, may take. */
  readonly timeoutMs: number;
  readonly usesXet: boolean;
  readonly proxies: HubProxies;
  readonly agent: string;
}

export interface HubProxies {
  /** For `http:` addresses. */
  readonly http: string | null;
  readonly https: string | null;
  /** Hosts that are reached without. */
  readonly no: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const ENDPOINT = "https://huggingface.co";
/** The Python client's own. */
const TIMEOUT_SECONDS = 10;
/** Of a timer. */
const LONGEST_MS = 2 ** 31 - 1;

/** Throws EnvironmentError HUB_SETTING. */
export function hubSettings(env: Environment = process.env): HubSettings {
  const home = hubHome(env);
  const found = tokenOf(env, home);
  return {
    endpoint: endpointOf(env.HF_ENDPOINT),
    token: found?.token ?? null,
    tokenFrom: found?.from ?? null,
    cache: expanded(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, "hub"), env),
    offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].find((name) => isTrue(env[name])) ?? null,
    timeoutMs: 1000 * secondsOf("HF_HUB_DOWNLOAD_TIMEOUT", env),
    usesXet: !isTrue(env.HF_HUB_DISABLE_XET),
    proxies: proxiesOf(env),
    agent: [`convert-checkpoint/${VERSION}`, `node/${process.versions.node}`, env.HF_HUB_USER_AGENT_ORIGIN]
      .filter(Boolean)
      .join("; "),
  };
}

function endpointOf(text = ""): string {
  const endpoint = text.trim().replace(/\/+$/, "") || ENDPOINT;
  if (/^https?:\/\//i.test(endpoint) && URL.canParse(endpoint)) return endpoint;
  const help = "name it with its scheme, or unset it: then it is the Hub itself";
  throw wrongSetting("HF_ENDPOINT", `an address such as ${ENDPOINT}`, JSON.stringify(text), help);
}

function secondsOf(name: string, env: Environment): number {
  const text = env[name]?.trim() || `${TIMEOUT_SECONDS}`;
  const seconds = Number(text);
  if (seconds > 0 && seconds * 1000 <= LONGEST_MS) return seconds;
  throw wrongSetting(name, "seconds, such as 10", JSON.stringify(text), "give a number, or unset it");
}

const wrongSetting = (name: string, expected: string, found: string, help: string): EnvironmentError =>
  new EnvironmentError("HUB_SETTING", `${name}: not ${expected}`, { expected, found, help });

const isTrue = (value: string | undefined): boolean =>
  ["1", "ON", "YES", "TRUE"].includes((value ?? "").trim().toUpperCase());

const hubHome = (env: Environment): string =>
  expanded(env.HF_HOME || join(env.XDG_CACHE_HOME || join(userHome(env), ".cache"), "huggingface"), env);

const userHome = (env: Environment): string => env.HOME || homedir();

/** With `~` and variables in their place. */
const expanded = (path: string, env: Environment): string =>
  path
    .replace(/^~(?=\/|\\|$)/, userHome(env))
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced: string | undefined, bare: string | undefined) => {
      return env[braced ?? bare ?? ""] ?? whole;
    });

function tokenOf(env: Environment, home: string): { readonly token: string; readonly from: string } | null {
  if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return null;
  for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
    const token = cleaned(env[name]);
    if (token !== "") return sendable({ token, from: name });
  }
  const file = expanded(env.HF_TOKEN_PATH || join(home, "token"), env);
  const token = cleaned(textOf(file));
  return token === "" ? null : sendable({ token, from: file });
}

/** A header takes no other characters: a token that was pasted with a curly quote would look like a network that fails. */
function sendable<T extends { readonly token: string; readonly from: string }>(found: T): T {
  if (/^[\x21-\x7e]+$/.test(found.token)) return found;
  const help = `copy it anew from the page of your tokens into ${found.from}`;
  throw wrongSetting(found.from, "a token of letters, digits and signs of ASCII", "others, or a space", help);
}

const cleaned = (token: string | undefined): string => (token ?? "").replace(/[\r\n]/g, "").trim();

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // A token that is not there, or may not be read, is as none: the Hub says what needs one.
    return "";
  }
}

/** The lower-case name wins, as everywhere. */
const either = (env: Environment, name: string): string | undefined => env[name] || env[name.toUpperCase()];

function proxiesOf(env: Environment): HubProxies {
  const all = either(env, "all_proxy");
  return {
    http: proxyAddress(either(env, "http_proxy") ?? all),
    https: proxyAddress(either(env, "https_proxy") ?? all),
    no: either(env, "no_proxy") ?? "",
  };
}

const proxyAddress = (text: string | undefined): string | null =>
  text === undefined || text.trim() === ""
    ? null
    : /^\w+:\/\//.test(text.trim())
      ? text.trim()
      : `http://${text.trim()}`;
