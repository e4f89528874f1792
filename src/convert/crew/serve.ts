// One of a crew, in a thread of its own: it has planned the same, and does what nobody has taken yet.
import { createHash, type Hash } from "node:crypto";
import type { MessagePort } from "node:worker_threads";
import { crc32 } from "node:zlib";
import { sent } from "../../base/sent-failure.ts";
import { Witness, witnessed } from "../../base/witness.ts";
import { fileChanged } from "../../formats/io/file-faults.ts";
import { SharedSums, sharing } from "../../formats/zip/shared-sums.ts";
import { DraftFiles } from "../../output/write/draft-files.ts";
import { Gatherer } from "../../views/gather.ts";
import { Producer } from "../../views/produce.ts";
import { producing } from "../bytes/producing.ts";
import { planDigestOf } from "../inputs.ts";
import type { ConversionPlan } from "../plan.ts";
import {
  type Begin,
  type CrewData,
  type Done,
  FOLLOWED,
  type Message,
  MOST_AHEAD_BYTES,
  NEXT,
  type ReadOf,
  UNIT_BYTES,
} from "./messages.ts";
import { type Task, tasksOf } from "./tasks.ts";

/** Runs until nothing is left. @param plan plans what `data` says */
export async function serveCrew(port: MessagePort, data: CrewData, plan: () => Promise<ConversionPlan>): Promise<void> {
  const seen = new Witness();
  const sums = new SharedSums();
  const reads = new Reads(seen);
  try {
    const planned = await witnessed(seen, plan);
    checkSame(planned, data.digest);
    const begin = new Promise<Begin>((resolve) => port.once("message", resolve));
    const member = new Member(planned, await begin, reads);
    witnessed(seen, () => sharing(sums, () => work(member, data.words, port)));
    const notChecked = planned.source.notChecked?.() ?? null;
    say(port, { kind: "end", records: sums.seen, notChecked, reads: reads.take() });
  } catch (error) {
    say(port, { kind: "failed", failure: sent(error), reads: reads.take() });
  }
}

function checkSame(plan: ConversionPlan, digest: string): void {
  const own = planDigestOf(plan);
  if (own === digest) return;
  throw fileChanged(plan.source.path, "the source has changed since the conversion was planned", digest, own);
}

const say = (port: MessagePort, message: Message): void => port.postMessage(message);

function work(member: Member, words: Int32Array, port: MessagePort): void {
  for (;;) {
    const number = Atomics.add(words, NEXT, 1);
    if (number >= member.count) return;
    member.wait(number, words);
    say(port, member.run(number));
  }
}

class Member {
  readonly #plan: ConversionPlan;
  readonly #reads: Reads;
  readonly #gatherer: Gatherer;
  readonly #tasks;
  readonly #drafts: DraftFiles;

  constructor(plan: ConversionPlan, { out, kept }: Begin, reads: Reads) {
    this.#plan = plan;
    this.#reads = reads;
    this.#gatherer = new Gatherer(plan.memory.bufferBytes);
    this.#tasks = tasksOf(plan, kept);
    this.#drafts = new DraftFiles(out, plan.files);
  }

  get count(): number {
    return this.#tasks.all.length;
  }

  wait(number: number, words: Int32Array): void {
    for (;;) {
      const followed = Atomics.load(words, FOLLOWED);
      if (this.#tasks.begins[number]! - followed * UNIT_BYTES <= MOST_AHEAD_BYTES) return;
      Atomics.wait(words, FOLLOWED, followed, 1000);
    }
  }

  run(number: number): Done {
    const task = this.#tasks.all[number]!;
    const done = task.kind === "write" ? this.#write(task) : this.#hash(task.ids);
    return { kind: "done", task: number, sums: [], casts: [], ...done, reads: this.#reads.take() };
  }

  #hash(ids: readonly number[]): Pick<Done, "sha256"> {
    return { sha256: ids.map((id) => [id, this.#plan.seal!.hashed(id)]) };
  }

  #write({ write, hashes }: Task & { kind: "write" }): Pick<Done, "sums" | "casts" | "sha256"> {
    const producer = new Producer(this.#plan.mapping, this.#gatherer);
    const produce = producing(this.#plan, producer, undefined, () => undefined);
    const sums: Done["sums"][number][] = [];
    const sha256: [number, string][] = [];
    for (const { key, begin, end, at, sum, sumBegin } of write.ranges) {
      const id = hashes.get(key);
      const hash: Hash | null = id === undefined ? null : createHash("sha256");
      let [position, crc] = [at, 0];
      produce(key, begin, end, (bytes) => {
        if (sum !== undefined) crc = crc32(bytes, crc);
        hash?.update(bytes);
        this.#drafts.write(write.file, position, bytes);
        position += bytes.length;
      });
      if (position - at !== end - begin)
        throw new Error(`"${key}": a part of ${end - begin} bytes got ${position - at}`);
      if (sum !== undefined) sums.push({ sum, begin: sumBegin, end: sumBegin + end - begin, crc32: crc });
      if (id !== undefined && hash !== null) sha256.push([id, hash.digest("hex")]);
    }
    return { sums, casts: [...producer.casts], sha256 };
  }
}

/** What was read of files since it was last asked for. */
class Reads {
  readonly #seen: Witness;
  readonly #counted = new Map<string, number>();

  constructor(seen: Witness) {
    this.#seen = seen;
  }

  take(): ReadOf[] {
    return [...this.#seen.files.values()].flatMap(({ path, bytes, version, contentBytes }) => {
      const count = contentBytes - (this.#counted.get(path) ?? 0);
      this.#counted.set(path, contentBytes);
      return count === 0 || version === null ? [] : [{ path, bytes, version, count }];
    });
  }
}
