// What the thread that speaks to the Hub is asked, and what it answers.
import { isMainThread, type MessagePort } from "node:worker_threads";
import type { SentFailure } from "../base/sent-failure.ts";
import type { HubAddress } from "./address.ts";
import type { HubSettings } from "./settings.ts";

/** A repository at one commit. */
export interface Snapshot {
  readonly type: HubAddress["type"];
  /** `owner/name`. */
  readonly repository: string;
  /** As it was named; null where it was not. */
  readonly revision: string | null;
  readonly commit: string;
  readonly files: ReadonlyMap<string, SnapshotFile>;
}

export interface SnapshotFile {
  readonly size: number;
  /** SHA-256 of a file that is kept apart from git. */
  readonly sha256: string | null;
  /** SHA-1 of the git blob: of the file, or of what points to it. */
  readonly oid: string | null;
  readonly xetHash: string | null;
}

/** A file as the thread needs it. */
export interface RemoteFile extends SnapshotFile {
  readonly snapshot: Pick<Snapshot, "type" | "repository" | "revision" | "commit">;
  /** In the repository. */
  readonly path: string;
  /** The same for the same file of the same commit. */
  readonly key: string;
  /** For messages. */
  readonly shown: string;
}

export type Ask =
  | { readonly kind: "snapshot"; readonly address: HubAddress; readonly shown: string }
  /** The first bytes of files that are read from their beginning, each answered as it comes. */
  | { readonly kind: "heads"; readonly files: readonly RemoteFile[] }
  /** All of a file, of which the beginning is there. */
  | { readonly kind: "whole"; readonly file: RemoteFile; readonly before: Uint8Array }
  /** Bytes into slots, one after the other. */
  | ({ readonly kind: "stream"; readonly file: RemoteFile; readonly slots: readonly number[] } & Span);

export interface Span {
  readonly begin: number;
  readonly end: number;
}

/** What an answer says beside the number of its question. */
export type Answer =
  | { readonly kind: "snapshot"; readonly snapshot: Snapshot }
  | { readonly kind: "head"; readonly path: string; readonly bytes: Uint8Array }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly failure: SentFailure };

export interface Question {
  readonly id: number;
  readonly ask: Ask;
}

export interface Reply {
  readonly id: number;
  readonly answer: Answer;
}

export interface ThreadData {
  readonly port: MessagePort;
  readonly settings: HubSettings;
  /** Words: how often something happened, the thread's heartbeat, then bytes that are there of each slot. */
  readonly words: Int32Array;
  readonly slots: Uint8Array;
}

export const HAPPENED = 0;
export const HEARTBEAT = 1;
export const FILLED = 2;
export const SLOT_BYTES = 1 << 20;
/** 40 MiB; of threads that read beside others, 16 each. */
export const SLOTS = isMainThread ? 40 : 16;
