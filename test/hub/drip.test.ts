// Answers that drip, on a clock of the test's own: they are cut, asked for again where they stood, and an error in the end.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { hubSettings } from "../../src/hub/settings.ts";
import { Reader } from "../../src/hub/web/reading.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const SIZE = 100_000;
const URL_OF = "https://hub.test/owner/name/resolve/main/model.safetensors";
const asked = { file: "hf://owner/name/model.safetensors", repository: "owner/name", revision: null };
const byteAt = (at: number): number => (at * 7) % 251;

/** A server that gives so many bytes a second, of the first answers. Its ranges as they were asked for. */
function server(bytesASecond: number, slowAnswers: number) {
  const begun: number[] = [];
  const network = (_: unknown, init?: RequestInit) => {
    const [, first = "0"] = /bytes=(\d+)-/.exec(new Headers(init?.headers).get("Range") ?? "") ?? [];
    let at = Number(first);
    begun.push(at);
    const isSlow = begun.length <= slowAnswers;
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          if (isSlow) await new Promise((resolve) => setTimeout(resolve, 1000));
          const end = Math.min(SIZE, at + (isSlow ? bytesASecond : SIZE));
          controller.enqueue(Uint8Array.from({ length: end - at }, (_, i) => byteAt(at + i)));
          at = end;
          if (at === SIZE) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const headers = { "Content-Range": `bytes ${first}-${SIZE - 1}/${SIZE}` };
    return Promise.resolve(new Response(body, { status: 206, headers }));
  };
  return { begun, network: network as typeof fetch };
}

function reading(network: typeof fetch): Promise<Uint8Array | Error> {
  const reader = new Reader(network, hubSettings({ HF_ENDPOINT: "https://hub.test" }));
  reader.expect(URL_OF, { ...asked, size: SIZE, hashes: [] });
  const fetched = reader.fetchFor(asked)(URL_OF, { headers: { Range: `bytes=0-${SIZE - 1}` } });
  return fetched.then(async (response) => new Uint8Array(await response.arrayBuffer())).catch((error: Error) => error);
}

test("a connection that drips is left, and the next one goes on where it stood", async () => {
  const { begun, network } = server(100, 1);
  const read = reading(network);
  await vi.advanceTimersByTimeAsync(90_000);
  expect(await read).toEqual(Uint8Array.from({ length: SIZE }, (_, i) => byteAt(i)));
  expect(begun).toEqual([0, 5900]);
});

test("where all of them drip, the error says so, after some minutes", async () => {
  const { begun, network } = server(1, 1000);
  const read = reading(network);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(await read).toMatchObject({
    code: "HUB_FAILS",
    details: { found: expect.stringContaining("60 bytes in 60 seconds: too slow") },
  });
  expect(begun).toHaveLength(8);
});

test("a slow connection is not one that drips", async () => {
  const { begun, network } = server(300, 1000);
  const read = reading(network);
  await vi.advanceTimersByTimeAsync(400_000);
  expect((await read) instanceof Uint8Array).toBe(true);
  expect(begun).toEqual([0]);
});
