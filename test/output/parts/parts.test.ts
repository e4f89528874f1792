// Parts of an output, by processes that share nothing but a folder.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import type { OutputFile } from "../../../src/formats/output.ts";
import { homeOf } from "../../../src/output/home.ts";
import { cleanLeftover, leftoversAt } from "../../../src/output/leftovers.ts";
import { shareOf } from "../../../src/output/parts/share.ts";
import { surveyParts } from "../../../src/output/parts/survey.ts";
import type { Produce } from "../../../src/output/write/file.ts";
import { filesOf, hashOf } from "../../helpers/parted.ts";
import { scratch } from "../../helpers/scratch.ts";
import { expectedFiles, plannedFiles, produceBytes } from "../execute-plan.ts";
import { BYTES, type Made, madeParts } from "./made.ts";

const expected = new Map(Object.entries(expectedFiles(BYTES)).map(([name, bytes]) => [name, hashOf(bytes)]));
const isWhole = (target: string) => expect(filesOf(target)).toEqual(expected);

async function all(made: Made): Promise<Made> {
  for (let number = 1; number <= made.document.of; number += 1) await made.part(number);
  return made;
}

/** As documents are written, by the form that docs/parts.md gives. */
const signedAnew = (text: string): string => {
  const body = text.replace(/,"sha256":"[0-9a-f]{64}"\}\n$/, "}");
  return `${body.slice(0, -1)},"sha256":"${hashOf(Buffer.from(body))}"}\n`;
};

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? error.code : error),
  );

/** Stops after so many bytes, as a kill does, but for what is told of it. */
const stopsAfter = (bytes: number): Produce => {
  let left = bytes;
  return (key, begin, end, sink) =>
    produceBytes(key, begin, end, (chunk) => {
      if (left <= 0) throw new Error("killed");
      left -= chunk.length;
      sink(chunk);
    });
};

describe("the share", () => {
  const copy = (name: string, byteLength: number): OutputFile => ({
    name,
    byteLength,
    copyOf: "v1",
    parts: [{ kind: "copy", byteLength, read: () => undefined }],
  });
  const tensors = (name: string, byteLength: number): OutputFile => ({
    name,
    byteLength,
    parts: [{ kind: "tensor", key: name, begin: 0, end: byteLength }],
  });

  test.each([
    [1, [1]],
    [3, [10]],
    [16, [1000, 5, 0, 70_000, 1_000_003]],
    [7, [3e9, 5e9, 17, 1e9]],
    [1000, [7e11]],
  ])("of %i parts covers every byte once, cut at pages, in equal pieces", (of, sizes) => {
    const files = sizes.map((size, i) => tensors(`${i}`, size));
    const shares = shareOf(files, of);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    let [file, at] = [0, 0];
    for (const { file: name, begin, end } of shares.flat()) {
      while (sizes[file] === at) [file, at] = [file + 1, 0];
      expect([name, begin]).toEqual([`${file}`, at]);
      expect(end).toBeGreaterThan(begin);
      expect(begin % 4096).toBe(0);
      at = end;
    }
    while (sizes[file] === at) [file, at] = [file + 1, 0];
    expect(file).toBe(sizes.length);
    const most = Math.max(...shares.map((ranges) => ranges.reduce((sum, { begin, end }) => sum + end - begin, 0)));
    expect(most).toBeLessThanOrEqual((total / of) * (1 + 1 / 16 + 1 / 32) + 4096);
  });

  test("cuts no copy", () => {
    const shares = shareOf([tensors("a", 1e6), copy("tokenizer.json", 3e6), tensors("b", 1e6)], 5);
    expect(shares.flat().filter(({ file }) => file === "tokenizer.json")).toEqual([
      { file: "tokenizer.json", begin: 0, end: 3e6 },
    ]);
  });

  test("of a large output is cut at multiples of what a file system reads ahead", () => {
    const cuts = shareOf([tensors("a", 1e12)], 16).flatMap((ranges) => ranges.map(({ begin }) => begin));
    expect(cuts.every((cut) => cut % 2 ** 22 === 0)).toBe(true);
  });
});

describe("parts", () => {
  test.each([1, 2, 5, 40])("%i of them become what one run writes, a checksum over a cut among it", async (of) => {
    const made = await all(madeParts(scratch(), of));
    expect(existsSync(made.target)).toBe(false);
    const { files } = await made.join();
    isWhole(made.target);
    expect(readdirSync(dirname(made.target))).toEqual(["target"]);
    expect(files.every(({ xxh64 }) => xxh64 !== null)).toBe(true);
  });

  test("that are not read again have no hash where several wrote a file", async () => {
    const made = await all(madeParts(scratch(), 3));
    const { files } = await made.join({ reads: false });
    isWhole(made.target);
    expect(files.map(({ name, xxh64 }) => [name, xxh64 === null])).toEqual([
      ["first.distcp", true],
      ["folder/second.distcp", false],
      ["empty.distcp", true],
    ]);
  });

  test("one that was stopped goes on where it was, one without --resume begins anew", async () => {
    const made = madeParts(scratch(), 2);
    await expect(made.part(1, { produce: stopsAfter(700_000) })).rejects.toThrow("killed");
    expect(surveyParts(made.home)[0]!.parts.map(({ state }) => state)).toEqual(["stopped", "missing"]);
    const asked: number[] = [];
    const noting: Produce = (key, begin, end, sink) => {
      asked.push(begin);
      produceBytes(key, begin, end, sink);
    };
    await made.part(1, { resume: true, produce: noting });
    expect(Math.min(...asked)).toBeGreaterThan(500_000);
    await expect(made.part(2, { produce: stopsAfter(700_000) })).rejects.toThrow("killed");
    await made.part(2);
    await made.join();
    isWhole(made.target);
  });

  test("one that goes on finds bytes that are not what was written", async () => {
    const made = madeParts(scratch(), 2);
    await expect(made.part(1, { produce: stopsAfter(700_000) })).rejects.toThrow("killed");
    const file = join(made.home, readdirSync(made.home).find((name) => name.startsWith("out-"))!, "first.distcp");
    const bytes = readFileSync(file);
    bytes[1000]! ^= 1;
    writeFileSync(file, bytes);
    expect(await code(made.part(1, { resume: true }))).toBe("PARTIAL_CHANGED");
    await made.part(1);
    await made.part(2);
    await made.join();
    isWhole(made.target);
  });

  test("one that writes nothing leaves nothing, and nothing of others is touched", async () => {
    const made = madeParts(scratch(), 2);
    await expect(made.part(1, { produce: stopsAfter(0) })).rejects.toThrow("killed");
    expect(readdirSync(dirname(made.target))).toEqual([]);
    await made.part(2);
    await expect(made.part(1, { produce: stopsAfter(0) })).rejects.toThrow("killed");
    await made.part(1);
    await made.join();
    isWhole(made.target);
  });

  test("two attempts at one part, side by side, do no harm", async () => {
    const made = madeParts(scratch(), 2);
    await Promise.all([made.part(1), made.part(1, { unasked: true }), made.part(2)]);
    await made.join();
    isWhole(made.target);
  });

  test("one whose folder was removed ends, and is not taken for done", async () => {
    const made = madeParts(scratch(), 2);
    const finish = async () => {
      rmSync(made.home, { recursive: true });
      await all(made);
      return null;
    };
    expect(await code(made.part(1, { finish }))).toBe("PARTS_REMOVED");
    await made.join();
    isWhole(made.target);
  });
});

/** Journals of this process as another machine writes them. */
function moveAbroad(home: string): void {
  for (const name of readdirSync(home).filter((each) => each.endsWith(".journal"))) {
    const path = join(home, name);
    writeFileSync(
      path,
      readFileSync(path, "utf8").replace(/"host":\{[^}]*\}/, '"host":{"name":"node7","boot":"","space":""}'),
    );
  }
}

describe("an attempt", () => {
  test("of this machine that runs is waited for, one of another counts until it is silent", async () => {
    const made = madeParts(scratch(), 2);
    const begun: string[] = [];
    const finish = async () => {
      begun.push(String(await code(made.part(1))));
      moveAbroad(made.home);
      begun.push(surveyParts(made.home)[0]!.parts[0]!.state);
      begun.push(cleanLeftover(leftoversAt(made.target)[0]!).done);
      const journal = readdirSync(made.home).find((name) => name.endsWith(".journal"))!;
      const longAgo = Date.now() / 1000 - 600;
      utimesSync(join(made.home, journal), longAgo, longAgo);
      begun.push(surveyParts(made.home)[0]!.parts[0]!.state);
      return null;
    };
    await made.part(1, { finish });
    expect(begun).toEqual(["TARGET_BUSY", "running", "kept", "stopped"]);
  });
});

describe("joining", () => {
  test.each<[string, (file: string) => void]>([
    [
      "a bit",
      (file) =>
        writeFileSync(
          file,
          readFileSync(file).map((byte, i) => (i === 2_500_000 ? byte ^ 1 : byte)),
        ),
    ],
    ["its end", (file) => truncateSync(file, 2_500_000)],
    ["all", (file) => rmSync(file)],
  ])("finds that %s of what parts wrote is gone, and asks for those parts alone", async (what, damage) => {
    const made = await all(madeParts(scratch(), 3));
    const out = join(made.home, readdirSync(made.home).find((name) => name.startsWith("out-"))!);
    damage(join(out, "first.distcp"));
    const failed = await made.join().catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "PARTS_CHANGED" });
    expect(existsSync(made.target)).toBe(false);
    const again = surveyParts(made.home)[0]!
      .parts.filter(({ state }) => state === "missing")
      .map(({ number }) => number);
    expect(again).toEqual(what === "all" ? [1, 2, 3] : [3]);
    for (const number of again) await made.part(number);
    await made.join();
    isWhole(made.target);
  });

  test("is continued after a kill: before, while and after the output gets its name", async () => {
    const made = await all(madeParts(scratch(), 3));
    const kept = join(scratch(), "home");
    cpSync(made.home, kept, { recursive: true });
    const [out, moved] = ["out-", "moved-"].map((begin) =>
      join(made.home, `${begin}${made.document.plan.slice(0, 12)}`),
    );
    await made.join();
    isWhole(made.target);
    // It has its name: the folder alone is left.
    cpSync(kept, made.home, { recursive: true });
    rmSync(out!, { recursive: true });
    writeFileSync(moved!, "");
    await made.join();
    isWhole(made.target);
    expect(existsSync(made.home)).toBe(false);
    // On its way.
    rmSync(made.target, { recursive: true });
    cpSync(kept, made.home, { recursive: true });
    writeFileSync(moved!, "");
    const staged = homeOf(made.target);
    mkdirSync(staged);
    renameSync(out!, join(staged, "out"));
    writeFileSync(
      join(staged, "journal"),
      `\n${JSON.stringify({ claim: { run: "r", pid: 2 ** 22 - 1, started: "1" }, target: "target" })}\n${JSON.stringify({ plan: made.document.plan })}`,
    );
    await made.join();
    isWhole(made.target);
    expect(readdirSync(dirname(made.target))).toEqual(["target"]);
  });

  test("leaves the parts where something came to stand at the target", async () => {
    const made = await all(madeParts(scratch(), 3));
    mkdirSync(made.target);
    writeFileSync(join(made.target, "notes.txt"), "mine");
    expect(await code(made.join())).toBe("TARGET_EXISTS");
    expect(await code(made.join({ check: { force: true, reads: [] } }))).toBe("TARGET_UNSAFE");
    rmSync(made.target, { recursive: true });
    await made.join();
    isWhole(made.target);
  });

  test("refuses documents that are none, and one of other ranges", async () => {
    const made = await all(madeParts(scratch(), 2));
    const name = readdirSync(made.home).find((each) => each.startsWith("part-1"))!;
    const text = readFileSync(join(made.home, name), "utf8");
    const others = [text.replace('"begin":0', '"begin":1'), text.replace(/"file":"[^"]*"/, '"file":"../x"')];
    for (const other of ["{", "[]", ...others, ...others.map(signedAnew), text.replace('"xxh64":"', '"xxh64":"0')]) {
      writeFileSync(join(made.home, name), other);
      expect(await code(made.join())).toBe("PARTS_DAMAGED");
    }
    writeFileSync(join(made.home, name), text);
    await made.join();
    isWhole(made.target);
  });

  test("refuses a document under the name of another part", async () => {
    const made = await all(madeParts(scratch(), 2));
    const [first, second] = readdirSync(made.home).filter((each) => each.startsWith("part-"));
    cpSync(join(made.home, first!), join(made.home, second!));
    expect(await code(made.join())).toBe("PARTS_DAMAGED");
    rmSync(join(made.home, second!));
    await made.part(2);
    await made.join();
    isWhole(made.target);
  });
});

test("what nobody of ours made is not deleted with the parts", async () => {
  const made = await all(madeParts(scratch(), 2, plannedFiles(BYTES)));
  writeFileSync(join(made.home, "thesis.tex"), "mine");
  expect(await code(made.part(1))).toBe("PARTIAL_CHANGED");
  expect(cleanLeftover(leftoversAt(made.target)[0]!)).toMatchObject({ done: "kept", state: "foreign" });
  expect(existsSync(join(made.home, "thesis.tex"))).toBe(true);
});
