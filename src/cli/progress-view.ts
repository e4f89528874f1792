import type { ProgressEvent } from "./command.ts";

/** Where progress goes: stderr. */
export type TerminalStream = NodeJS.WritableStream & { readonly isTTY?: boolean };

export interface ProgressView {
  show(event: ProgressEvent): void;
  stop(): void;
}
