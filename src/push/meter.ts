// How far a push is: each large file is read once to be hashed, and again where it has to be sent.
import type { CommitProgressEvent } from "@huggingface/hub";
import type { StepOptions } from "../base/steps.ts";
import type { Promised } from "../hub/upload/commit.ts";

interface Seen {
  readonly bytes: number;
  isHashed: boolean;
  hashed: number;
  sent: number;
}

export class Meter {
  private readonly files = new Map<string, Seen>();

  constructor(private readonly onProgress: StepOptions["onProgress"]) {}

  /** Told of what is read of a file. */
  of(path: string, bytes: number): (read: number) => void {
    const seen: Seen = { bytes, isHashed: false, hashed: 0, sent: 0 };
    this.files.set(path, seen);
    return (read) => {
      seen[seen.isHashed ? "sent" : "hashed"] += read;
      this.tell(seen.isHashed ? "sending" : "hashing");
    };
  }

  see(event: CommitProgressEvent): void {
    if (event.event !== "fileProgress") return;
    const seen = this.files.get(event.path);
    if (seen !== undefined && event.state === "hashing") seen.isHashed = event.progress === 1;
  }

  /** Of files that the Hub keeps apart from its commits. */
  sums(promised: ReadonlyMap<string, Promised>): { readonly sentBytes: number; readonly thereBytes: number } {
    const large = [...this.files].filter(([path]) => {
      const content = promised.get(path);
      return content !== undefined && "sha256" in content;
    });
    const sum = (isSent: boolean) =>
      large.filter(([, { sent }]) => sent > 0 === isSent).reduce((total, [, { bytes }]) => total + bytes, 0);
    return { sentBytes: sum(true), thereBytes: sum(false) };
  }

  private tell(label: "hashing" | "sending"): void {
    const all = [...this.files.values()];
    const total = all.reduce((sum, { bytes }) => sum + bytes, 0);
    const read = all.reduce(
      (sum, { bytes, hashed, sent }) => sum + Math.min(bytes, label === "hashing" ? hashed : sent),
      0,
    );
    this.onProgress?.({ label, done: read, total });
  }
}
