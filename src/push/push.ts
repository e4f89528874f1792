// A checkpoint's folder into a repository of the Hub: one commit, or a pull request, with what is known of the model in its card.
import { VERSION } from "../base/version.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { ADAPTER_CONFIG } from "../formats/file-names.ts";
import { CONFIG_LIMIT, has, readText } from "../formats/io/folder.ts";
import { type HubAddress, hubAddressOf } from "../hub/address.ts";
import { answersError, refusedPush } from "../hub/upload/refused.ts";
import { makeBranch, makeRepository, standingAt, textAt } from "../hub/upload/repository.ts";
import { SourceBlob } from "../hub/upload/source-blob.ts";
import { baseModelOf, cardSection } from "./card/card.ts";
import { type Chosen, chosenReadme, readmeWith } from "./card/readme.ts";
import { CARD_NAME, type NewCard } from "./card/section.ts";
import { differencesOf, type FileChange, type PushedFile } from "./difference.ts";
import { type Facts, factsOf } from "./facts.ts";
import { closeAll, localFiles } from "./local.ts";
import { checkFolder, checkPlace, nothingToPropose, refuseMadeMeanwhile, refuseReplacing } from "./refusals.ts";
import { sendAll } from "./sending.ts";
import { aboutOf, type Told } from "./told.ts";
import { branchOf, cardPathOf, filesThere, MAIN, type PushOptions, prefixOf, type Work } from "./work.ts";

/** The JSON document of `push`. */
export interface Push extends Told {
  readonly verdict: "pass";
  /** As `hf://owner/name[@branch][/folder]`. */
  readonly repository: string;
  /** Whether the repository or the branch was made for this. */
  readonly created: "repository" | "branch" | null;
  readonly dryRun: boolean;
  /** Before the push; null of a repository that was not there. */
  readonly parent: string | null;
  /** That was made; null where nothing had to be. */
  readonly commit: { readonly id: string; readonly url: string } | null;
  readonly pullRequest: string | null;
  readonly changes: readonly FileChange[];
  /** Bytes of large files that were sent, and those that the Hub had from before. */
  readonly sentBytes: number;
  readonly thereBytes: number;
  /** Whether the repository was seen to hold each file by its hash. */
  readonly confirmed: boolean;
  readonly leftOut: readonly string[];
  readonly notes: readonly string[];
  readonly seconds: number;
}

/**
 * Throws UsageError PUSH_NOT_A_FOLDER, PUSH_PLACE; InputError PUSH_REPLACES, EVIDENCE_FOREIGN, CARD_MARKERS, HUB_MOVED_ON, HUB_REFUSES;
 * EnvironmentError HUB_TOKEN_MISSING, HUB_TOKEN_REFUSED, HUB_FORBIDDEN, HUB_OFFLINE, HUB_UNREACHABLE, HUB_FAILS; what opening,
 * sealing and reading throw. What was sent until then is not sent again.
 */
export async function push(checkpoint: Checkpoint, address: HubAddress, options: PushOptions): Promise<Push> {
  const begin = performance.now();
  const shown = hubAddressOf(address);
  checkFolder(checkpoint);
  checkPlace(address, shown, options);
  const { settings } = options;
  const standing = await standingAt(settings, address, shown);
  if (standing === "no repository" && options.pullRequest === true) throw nothingToPropose(address, shown);
  const local = localFiles(checkpoint);
  try {
    const work: Work = { checkpoint, address, shown, options, standing, local: local.files };
    const readme = await readmeOf(work);
    const changes = await changesOf(work, readme);
    options.onDifferences?.(changes);
    refuseReplacing(address, shown, options, changes);
    const facts = await factsOf(checkpoint, { ...options, reports: options.reports ?? [], seal: options.seal ?? true });
    const card = cardSection({ model: facts.model, repository: shown, evidence: facts.evidence });
    const made = await carriedOut(work, changes, readme, card, facts);
    return {
      ...resultOf(work, facts, card),
      ...made,
      leftOut: local.leftOut,
      notes: [...readme.notes, ...adapterNotes(changes, address), ...facts.notes, ...leftOutNotes(local.leftOut)],
      seconds: (performance.now() - begin) / 1e3,
    };
  } catch (error) {
    throw refusedPush(error, shown, address.repository, settings);
  } finally {
    closeAll(local.files);
  }
}

function resultOf({ checkpoint, shown, options, standing }: Work, facts: Facts, card: string) {
  return {
    verdict: "pass",
    repository: shown,
    dryRun: options.dryRun ?? false,
    parent: typeof standing === "string" ? null : standing.commit,
    ...aboutOf(checkpoint, facts, card),
  } as const;
}

async function readmeOf({ checkpoint, address, shown, options, standing, local }: Work): Promise<Chosen> {
  const path = cardPathOf(address);
  const isThere = filesThere({ standing }).has(path);
  const remote =
    typeof standing === "string" || !isThere
      ? null
      : await textAt(options.settings, standing, path, `${shown}/${path}`);
  const { folder } = checkpoint;
  const own = local.some(({ name }) => name === CARD_NAME) ? readText(folder, CARD_NAME, CONFIG_LIMIT) : null;
  return chosenReadme({ local: own, remote });
}

const freshCard = ({ checkpoint: { folder, format }, address }: Work, { evidence }: Facts): NewCard => ({
  title: address.path.split("/").at(-1) || address.repository.split("/")[1] || "model",
  baseModel: baseModelOf(evidence),
  isTransformers: has(folder, "config.json") && format === "safetensors",
});

/** Of everything but the text of the card, which is known later. */
async function changesOf({ address, options, standing, local }: Work, readme: Chosen): Promise<FileChange[]> {
  const folder = prefixOf(address);
  const files = local
    .filter(({ name }) => name !== CARD_NAME)
    .map(({ name, source }): PushedFile => {
      const bytes = source.byteLength;
      return {
        path: folder + name,
        bytes,
        async isSame({ size, sha256, oid }) {
          if (size !== bytes) return false;
          const blob = SourceBlob.of(source);
          if (sha256 !== null) return (await blob.hash("sha256", "", options.signal)) === sha256;
          return (await blob.hash("sha1", `blob ${bytes}\0`, options.signal)) === oid;
        },
      };
    });
  const there = filesThere({ standing });
  const card = there.get(cardPathOf(address));
  const others = new Map([...there].filter(([path]) => path !== cardPathOf(address)));
  const changes = await differencesOf(files, others, folder);
  const own = { path: cardPathOf(address), change: readme.change, bytes: null, remoteBytes: card?.size ?? null };
  return [...changes, own].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

async function carriedOut(work: Work, changes: readonly FileChange[], readme: Chosen, card: string, facts: Facts) {
  const text = readmeWith(readme, card, freshCard(work, facts));
  const isSame = readme.change !== "added" && readme.change !== "replaced" && text === readme.base;
  const all = changes.map((each): FileChange => {
    if (each.path !== cardPathOf(work.address)) return each;
    return { ...each, bytes: Buffer.byteLength(text), change: isSame ? "same" : each.change };
  });
  const isAnything = all.some(({ change }) => change !== "same" && change !== "kept");
  const created = work.standing === "no repository" ? "repository" : work.standing === "no branch" ? "branch" : null;
  const nothing = { created: null, commit: null, pullRequest: null, sentBytes: 0, thereBytes: 0, changes: all };
  if (work.options.dryRun === true) return { ...nothing, confirmed: false };
  if (!isAnything) return { ...nothing, confirmed: true };
  const { signal = new AbortController().signal } = work.options;
  const begun = created === null ? work : await begunAt(work, created, signal);
  const sent = await sendAll(begun, { changes: all, card: text, title: titleOf(work, facts), signal });
  return { created, changes: all, ...sent } as const;
}

/**
 * Makes what was not there. Somebody else may have made and filled it since it was looked for, and nothing of theirs was shown: the
 * commit that it is at is the one that the push is made on. Throws InputError HUB_MOVED_ON.
 */
async function begunAt(work: Work, created: "repository" | "branch", signal: AbortSignal): Promise<Work> {
  const { address, shown, options } = work;
  const { settings } = options;
  const { repository } = address;
  try {
    if (created === "repository") await makeRepository(settings, repository, options.public ?? false, signal);
    if (created === "branch" || branchOf(address) !== MAIN) {
      await makeBranch(settings, repository, branchOf(address), signal);
    }
  } catch (error) {
    throw answersError(error, shown, settings, signal);
  }
  const begun = { ...work, standing: await standingAt(settings, address, shown) };
  refuseMadeMeanwhile(address, shown, [...filesThere(begun).keys()]);
  return begun;
}

const titleOf = ({ options }: Work, { model }: Facts): string =>
  options.message ?? `Upload ${model.name}, by convert-checkpoint ${VERSION}`;

/** transformers, `maybe_load_adapters` in integrations/peft.py: a repository with this file is the adapter's base and the adapter. */
const adapterNotes = (changes: readonly FileChange[], address: HubAddress): string[] =>
  changes.some(({ path, change }) => change === "kept" && path === prefixOf(address) + ADAPTER_CONFIG)
    ? [
        `${ADAPTER_CONFIG} stays there: transformers loads that adapter with its own base model, not these weights; delete it there, or push elsewhere`,
      ]
    : [];

const SHOWN = 8;

const leftOutNotes = (names: readonly string[]): string[] =>
  names.length === 0 ? [] : [`not pushed: ${names.slice(0, SHOWN).join(", ")}${names.length > SHOWN ? ", …" : ""}`];
