import { PassThrough } from "node:stream";
import { afterEach, expect, it, vi } from "vitest";
import { progressView } from "../../src/cli/progress.ts";

afterEach(() => void vi.useRealTimers());

it("off a terminal progress is a line every two seconds, and one at the end of a step", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const stream = new PassThrough();
  const view = progressView(true, stream);
  for (let second = 0; second <= 5; second++) {
    view.show({ label: "checking", done: second * 1e6, total: 5e6 });
    vi.advanceTimersByTime(1000);
  }
  view.show({ label: "writing", done: 0, total: 3e6 });
  view.show({ label: "writing", done: 3e6, total: 3e6 });
  view.stop();
  expect(String(stream.read()).split("\n")).toEqual([
    "checking 0%  0 B of 5.00 MB",
    "checking 40%  2.00 MB of 5.00 MB  1.00 MB/s  3.00 s left",
    "checking 80%  4.00 MB of 5.00 MB  1.00 MB/s  1.00 s left",
    expect.stringMatching(/^checking 100% {2}5\.00 MB of 5\.00 MB {2}/),
    "writing 0%  0 B of 3.00 MB",
    expect.stringMatching(/^writing 100% {2}3\.00 MB of 3\.00 MB/),
    "",
  ]);
});
